#!/usr/bin/env python3
"""The real Xen test host by hand.

  host.py build               make the image of the release (once; needs root)
  host.py up                  boot it and wait until its dom0 answers
  host.py run COMMAND...      run a shell command in dom0 as root
  host.py push FILE... DIR    copy files into dom0
  host.py install             build this checkout's package for it and start xapid there
  host.py ports               the local ports that lead into it, as JSON
  host.py log                 the serial console: Xen, dom0 and the guests
  host.py down                end it

SUITE=bookworm|trixie chooses the release, --name NAME one of several hosts,
XAPID_XENHOST_DIR where all is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from testhost.daemon import Daemon
from testhost.image import ensure_image
from testhost.machine import NICS, HostError, Machine, boot, running
from testhost.package import install
from testhost.suite import chosen_suite


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="default")
    parser.add_argument("--nics", type=int, default=NICS)
    parser.add_argument(
        "action", choices=["build", "up", "run", "push", "install", "ports", "log", "down"]
    )
    parser.add_argument("words", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    suite = chosen_suite()
    if given.action == "build":
        sys.stdout.write(f"{ensure_image(suite).directory}\n")
        return 0
    if given.action == "up":
        boot(ensure_image(suite), given.name, given.nics)
        return 0
    machine = running(suite, given.name)
    if machine is None:
        raise SystemExit(f"no {suite.name} host called {given.name} is running")
    return act(machine, given.action, given.words)


def act(machine: Machine, action: str, words: list[str]) -> int:
    """Do action on a running host; the exit status."""
    if action == "run":
        return subprocess.call([*machine.command("ssh"), "root@127.0.0.1", " ".join(words)])
    if action == "push":
        machine.push(*(Path(word) for word in words[:-1]), target=words[-1])
    elif action == "install":
        install(machine, ensure_image(chosen_suite()))
        Daemon(machine).start()
    elif action == "ports":
        sys.stdout.write(json.dumps(machine.ports) + "\n")
    elif action == "log":
        sys.stdout.write(machine.serial_log.read_text(errors="replace"))
    else:
        machine.down()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except HostError as error:
        raise SystemExit(str(error)) from None
