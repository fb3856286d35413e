"""The command line taken apart, and what is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from xapid.xe.credentials import read_password_file
from xapid.xe.failures import UsageError
from xapid.xe.options import parse


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XE_EXTRA_ARGS", raising=False)
    return tmp_path


def test_options_may_stand_before_and_after_the_command() -> None:
    options, command, words = parse(
        ["-s", "host", "vm-start", "-u", "alice", "web1", "--force", "VCPUs_max=2", "--json"]
    )

    assert (options.server, options.user, options.json, command) == (
        "host",
        "alice",
        True,
        "vm-start",
    )
    assert words.names == ["web1"] and words.values == {"force": "true", "vcpus-max": "2"}


def test_the_keys_of_a_map_keep_their_case_and_values_their_equals_signs() -> None:
    _, _, words = parse(["vm-param-set", "other-config:Owner=a=b", "other-config:x:y=1"])

    assert words.maps == {"other-config": {"Owner": "a=b", "x:y": "1"}}


def test_after_two_hyphens_everything_is_a_word() -> None:
    _, command, words = parse(["vm-start", "--", "-s"])

    assert command == "vm-start" and words.names == ["-s"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-pw", "x", "vm-list"], "-pwf FILE"),
        (["vm-list", "-s"], "needs a value"),
        (["vm-list", "-x"], "no option -x"),
        (["vm-list", "a=1", "A=2"], "twice"),
        (["vm-list", "--nossl"], "in the clear"),
        (["vm-list", "name=\x1b"], "cannot carry"),
        (["vm-list", "=x"], "before the equals sign"),
    ],
)
def test_a_command_line_that_makes_no_sense_says_why(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(arguments)


@pytest.mark.parametrize("port", ["0", "65536", "https", "-1", "٤٤٣"])
def test_a_port_is_a_number_that_exists(port: str) -> None:
    options, _, _ = parse(["-p", port, "vm-list"])

    with pytest.raises(UsageError, match="no port"):
        _ = options.port_number


def test_two_forms_of_output_are_refused() -> None:
    options, _, _ = parse(["--json", "--minimal", "vm-list"])

    with pytest.raises(UsageError, match="--minimal and --json"):
        options.form(terminal=True)


def test_the_form_is_a_table_on_a_terminal_and_the_old_one_in_a_pipe() -> None:
    options, _, _ = parse(["vm-list"])

    assert (options.form(terminal=True), options.form(terminal=False)) == ("table", "classic")


def test_defaults_come_from_the_file_and_the_variable_of_old(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / ".xe").write_text("server=one\nusername=alice\n# more\n")
    monkeypatch.setenv("XE_EXTRA_ARGS", "server=two,-p,8443")

    options, _, _ = parse(["vm-list", "-u", "bob"])

    assert (options.server, options.port_number, options.user) == ("two", 8443, "bob")


def test_a_password_in_the_file_of_old_is_refused(home: Path) -> None:
    (home / ".xe").write_text("password=secret\n")

    with pytest.raises(UsageError, match="password_file=") as caught:
        parse(["vm-list"])

    assert "secret" not in str(caught.value)


def test_a_password_file_has_one_line_or_two(home: Path) -> None:
    for text, account in (("pass\n", ("", "pass")), ("alice\np w\n", ("alice", "p w"))):
        path = home / "password"
        path.write_text(text)
        path.chmod(0o600)
        assert tuple(read_password_file(path)) == account


def test_a_password_file_that_others_can_read_is_refused(home: Path) -> None:
    path = home / "password"
    path.write_text("pass\n")
    path.chmod(0o640)

    with pytest.raises(UsageError, match="chmod 600") as caught:
        read_password_file(path)

    assert "pass\n" not in str(caught.value)
