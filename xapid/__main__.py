"""The command `xapid`: read the arguments and the configuration, then run what they ask for."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn, get_args

from . import log
from .admin.arguments import add_to as add_commands
from .config import Config, ConfigError, LogLevel, XenChoice, load, load_installed, override
from .version import VERSION

EX_USAGE: Final = 64
EX_CONFIG: Final = 78
HYPERVISOR: Final = Path("/sys/hypervisor")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


class _Version(argparse.Action):
    """Tell the versions of everything that matters, one a line, and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print("\n".join(versions()))  # noqa: T201 - asked for
        parser.exit()


def versions(hypervisor: Path = HYPERVISOR) -> list[str]:
    """xapid, the API, libxl, the Xen that runs, and the schema of the database."""
    from .db.schema import migrations  # only when asked

    return [
        f"xapid {VERSION}",
        "XenAPI 1.1",
        f"libxl {_libxl_version()}",
        f"Xen {_running_xen(hypervisor)}",
        f"schema {len(migrations())}",
    ]


def _libxl_version() -> str:
    """What xapid-xen was built for: only that process ever loads libxl."""
    command = [sys.executable, "-P", "-m", "xapid.xenworker", "--version"]
    package = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": package}
    )
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    if "libxl" in found:
        return found["libxl"]
    return "not available here, only the mock" if "mock" in found else "not available here"


def _running_xen(hypervisor: Path) -> str:
    try:
        if (hypervisor / "type").read_text().strip() != "xen":
            return "does not run"
        read = [(hypervisor / "version" / part).read_text().strip() for part in ("major", "minor")]
        extra = (hypervisor / "version/extra").read_text().strip()
    except OSError:
        return "does not run"
    return ".".join(read) + extra


def command_line() -> argparse.ArgumentParser:
    """The parser of everything that `xapid` understands."""
    parser = _Parser(
        prog="xapid",
        description="Serve the XenAPI of this host in the foreground; or do one of the commands.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="PLACE",
        type=Path,
        help="a file, or a directory with xapid.toml and conf.d, in place of /etc/xapid",
    )
    parser.add_argument(
        "--state-dir", metavar="DIR", type=Path, help="database, certificate, first password"
    )
    parser.add_argument(
        "--https", metavar="HOST:PORT", help='where to serve HTTPS; port 0: a free one; "": nowhere'
    )
    parser.add_argument("--socket", metavar="PATH", type=Path, help="the Unix socket")
    parser.add_argument("--xen", choices=get_args(XenChoice), help="how to reach Xen")
    parser.add_argument("--log-level", choices=get_args(LogLevel), help="the least to log")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument(
        "--check-config", action="store_true", help="tell what is wrong with the settings, and end"
    )
    asked.add_argument(
        "--print-config", action="store_true", help="print the settings in effect, and end"
    )
    asked.add_argument(
        "--print-defaults", action="store_true", help="print every setting, explained, and end"
    )
    asked.add_argument(
        "--xen-worker", action="store_true", help="be xapid-xen, as the settings say"
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the versions, and end")
    parser.set_defaults(run=None)
    add_commands(parser)
    return parser


def config_reader(arguments: argparse.Namespace) -> Callable[[], Config]:
    """What reads the settings that a command line asks for, as often as wanted.

    It raises ConfigError.
    """

    def read() -> Config:
        return override(
            load_installed(os.environ)
            if arguments.config is None
            else load(arguments.config, os.environ),
            state_dir=arguments.state_dir,
            https=arguments.https,
            socket=arguments.socket,
            xen=arguments.xen,
            log_level=arguments.log_level,
        )

    return read


def read_config(argv: Sequence[str] | None) -> Config:
    """The settings that the command line asks for. Raises ConfigError, SystemExit."""
    return config_reader(command_line().parse_args(argv))()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until it is told to stop; the exit code is one of sysexits.h."""
    arguments = command_line().parse_args(argv)
    if arguments.print_defaults:
        return _print_settings(None)
    reader = config_reader(arguments)
    try:
        config = reader()
    except ConfigError as error:
        for mistake in error.mistakes:
            print(f"xapid: {mistake}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return EX_CONFIG
    if arguments.run is not None:
        from .admin import commands

        return commands.run(arguments, config)
    if arguments.check_config:
        return 0
    if arguments.print_config:
        return _print_settings(config)
    log.configure(config.log.level)
    # Only now, and only what is needed: the rest takes long to load.
    if arguments.xen_worker:
        from .xen.unit import become_worker

        return become_worker(config)
    from .daemon import run

    return run(config, reader)


def _print_settings(values: Config | None) -> int:
    from .config.document import example

    sys.stdout.write(example(values=values))
    return 0


if __name__ == "__main__":
    sys.exit(main())
