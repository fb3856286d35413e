"""What docs/hardening.md says of the units is what systemd says of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALTERNATIVES = re.compile(r"(\w*)\(([^)]*)\)")

pytestmark = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="there is no systemd here"
)


def analysis(unit: str, *options: str) -> str:
    command = ["systemd-analyze", "security", "--offline=true", *options]
    done = subprocess.run(
        [*command, ROOT / "systemd" / unit], capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return done.stdout


def words_of(finding: str) -> list[str]:
    """`CapabilityBoundingSet=~CAP_SYS_(NICE|RESOURCE)`: one of the words that stand for it."""
    directive, _, what = finding.partition("=~")
    if not what:
        return [word.strip("=") for word in directive.split("/")]
    if found := ALTERNATIVES.fullmatch(what):
        return [found[1] + each for each in found[2].split("|")]
    return [what]


@pytest.mark.parametrize("unit", ["xapid.service", "xapid-xen.service"])
def test_every_directive_left_out_has_its_reason(unit: str) -> None:
    text = (ROOT / "docs/hardening.md").read_text()
    left_out = text.partition("## Left out")[2].partition("\n## ")[0]

    findings = [
        each["name"]
        for each in json.loads(analysis(unit, "--json=short"))
        if not each["set"] and float(each["exposure"] or 0) > 0
    ]

    assert findings
    missing = [f for f in findings if not any(f"`{w}`" in left_out for w in words_of(f))]
    assert missing == []


@pytest.mark.parametrize("unit", ["xapid.service", "xapid-xen.service", "xapid-guests.service"])
def test_the_exposure_is_as_documented(unit: str) -> None:
    introduction = (ROOT / "docs/hardening.md").read_text().partition("## ")[0]
    documented = re.search(rf"`{re.escape(unit)}`[^.]*?(\d\.\d)", introduction)
    found = re.search(r"exposure level for \S+: (\d\.\d)", analysis(unit))

    assert documented is not None
    assert found is not None
    # Other versions of systemd weigh a little differently.
    assert abs(float(documented[1]) - float(found[1])) < 0.5
