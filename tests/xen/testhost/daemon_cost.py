"""What xapid and xapid-xen cost the control domain, read from dom0's own accounts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from testhost.daemon import UNIT
from testhost.listener import Listener
from testhost.machine import Machine

READ = (
    f"main=$(systemctl show -P MainPID {UNIT}); "
    "cat $(for p in $main $(pgrep -P $main); do echo /proc/$p/task/*/schedstat; done)"
)


@dataclass(frozen=True)
class DaemonCost:
    """Measures passes of the metrics: a pass ends with an event of a processor's utilisation."""

    machine: Machine
    heard: Listener

    def of_pass(self, looks: int = 3) -> float:
        """Processor seconds that both processes take for one pass, all they do beside included.

        The least of some looks: what else the machine has to do makes it only longer.
        """
        self._wait_pass()
        marks = [self._spent_s()]
        for _ in range(looks):
            self._wait_pass()
            marks.append(self._spent_s())
        return min(after - before for before, after in pairwise(marks))

    def _wait_pass(self) -> None:
        self.heard.wait(
            "the next pass of the metrics",
            lambda event: event["class"] == "host_cpu",
            20,
            after=len(self.heard.heard),
        )

    def _spent_s(self) -> float:
        rows = self.machine.run(READ).splitlines()
        return sum(int(row.split()[0]) for row in rows) / 1e9
