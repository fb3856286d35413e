"""The command `xapid`: read the arguments and the configuration, then run the daemon."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn, get_args

from . import log
from .config import CONFIG_FILE, Config, ConfigError, XenChoice, load, override
from .version import VERSION

EX_USAGE: Final = 64
EX_CONFIG: Final = 78


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="xapid",
        description="Serve the XenAPI of this host in the foreground.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help=f"settings in TOML (default: {CONFIG_FILE})"
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", type=Path, help="database, certificate, first password"
    )
    parser.add_argument(
        "--https", metavar="HOST:PORT", help='where to serve HTTPS; port 0: a free one; "": nowhere'
    )
    parser.add_argument("--socket", metavar="PATH", type=Path, help="the Unix socket")
    parser.add_argument("--xen", choices=get_args(XenChoice), help="how to reach Xen")
    parser.add_argument("--version", action="version", version=f"xapid {VERSION} (XenAPI 1.1)")
    return parser


def read_config(argv: Sequence[str] | None) -> Config:
    """The settings that the command line asks for. Raises ConfigError, SystemExit."""
    arguments = _parser().parse_args(argv)
    path: Path | None = arguments.config
    if path is None and CONFIG_FILE.exists():
        path = CONFIG_FILE
    return override(
        load(path),
        state_dir=arguments.state_dir,
        https=arguments.https,
        socket=arguments.socket,
        xen=arguments.xen,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; the exit code is one of sysexits.h."""
    try:
        config = read_config(argv)
    except ConfigError as error:
        for mistake in error.mistakes:
            print(f"xapid: {mistake}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return EX_CONFIG
    log.configure(config.log.level)
    from .daemon import run  # only now: the arguments are answered without loading the daemon

    return run(config)


if __name__ == "__main__":
    sys.exit(main())
