"""Settings: the file, the command line over it, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from xapid.__main__ import EX_CONFIG, EX_USAGE, main, read_config
from xapid.config import Address, Config, ConfigError, load, override


def written(directory: Path, text: str) -> Path:
    path = directory / "xapid.toml"
    path.write_text(text)
    return path


def mistakes(directory: Path, text: str) -> list[str]:
    path = written(directory, text)
    with pytest.raises(ConfigError) as refused:
        load(path)
    return [line.removeprefix(f"{path}:") for line in refused.value.mistakes]


def test_without_a_file_the_defaults_hold() -> None:
    config = override(load(None))

    assert config.listen.https == Address("127.0.0.1", 8443)
    assert config.socket == config.state_dir / "xapid.sock"
    assert config.tls_dir == config.state_dir / "tls"
    assert config.state_dir == Path.cwd() / ".xapid"


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == Config()


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    config = load(
        written(
            tmp_path,
            """
            state_dir = "/var/lib/xapid"
            [listen]
            https = "[::]:443"
            socket = "/run/xapid/xapid.sock"
            tcp_connections = 10
            [tls]
            names = ["xen.example"]
            [xen]
            driver = "libxl"
            [sessions]
            idle_s = 60
            [log]
            level = "debug"
            """,
        )
    )

    assert config.state_dir == Path("/var/lib/xapid")
    assert config.listen.https == Address("::", 443)
    assert str(config.listen.https) == "[::]:443"
    assert config.socket == Path("/run/xapid/xapid.sock")
    assert config.listen.tcp_connections == 10
    assert config.listen.body_limit == Config().listen.body_limit
    assert config.tls.names == ("xen.example",)
    assert (config.xen.driver, config.sessions.idle_s, config.log.level) == ("libxl", 60, "debug")


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """state_dir = 7
colour = "red"
xen = "mock"
[listen]
https = "nowhere"
"tcp_connections" = 0   # too few
body_limit = true
[log]
level = "loud"
[tls]
names = ["a", 1]
[what]
is = 1
""",
    )

    assert found == [
        "1: state_dir: 7 is not a string",
        "2: colour: no such setting",
        "3: xen: this is a table: write [xen]",
        "5: listen.https: 'nowhere' is not HOST:PORT",
        "6: listen.tcp_connections: 0 is below 1",
        "7: listen.body_limit: True is not a whole number",
        "9: log.level: 'loud' is none of debug, info, warning, error",
        "11: tls.names: 1 is not a list of strings",
        "12: what: no such setting",
    ]


def test_a_dotted_key_is_found_on_its_line(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "\nlisten.socks = 'x'\n") == ["2: listen.socks: no such setting"]


def test_a_mistake_of_form_is_told_with_its_line(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path, "[listen]\nhttps = \n")

    assert found.startswith("2: ")


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: No such file"):
        load(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("xen.example:65535", Address("xen.example", 65535)),
        ("[::1]:443", Address("::1", 443)),
        ("", None),
    ],
)
def test_an_address_is_host_and_port(text: str, address: Address | None) -> None:
    assert override(Config(), https=text).listen.https == address


@pytest.mark.parametrize("text", ["8443", ":8443", "h:", "h:x", "h:65536", "::1:443", "h:-1"])
def test_nothing_else_is_an_address(text: str) -> None:
    with pytest.raises(ConfigError, match="--https: "):
        override(Config(), https=text)


def test_a_socket_path_longer_than_linux_takes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="longer than 107 bytes"):
        override(Config(), state_dir=tmp_path / ("x" * 100))


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, 'state_dir = "/file"\n[xen]\ndriver = "libxl"\n')

    config = read_config(
        ["--config", str(path), "--state-dir", "/line", "--https", "h:1", "--xen", "mock"]
    )

    assert config.state_dir == Path("/line")
    assert config.listen.https == Address("h", 1)
    assert config.xen.driver == "mock"
    assert config.socket == Path("/line/xapid.sock")


class TestCommand:
    def test_tells_its_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["--version"])

        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith("xapid ")

    @pytest.mark.parametrize("arguments", [["--fly"], ["--xen", "kvm"], ["extra"], ["--stat", "x"]])
    def test_ends_with_64_when_used_wrongly(
        self, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            main(arguments)

        assert ended.value.code == EX_USAGE
        assert "usage: xapid" in capsys.readouterr().err

    def test_ends_with_78_and_every_mistake_when_misconfigured(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = written(tmp_path, "a = 1\nb = 2\n")

        assert main(["--config", str(path)]) == EX_CONFIG

        told = capsys.readouterr().err.splitlines()
        assert told == [
            f"xapid: {path}:1: a: no such setting",
            f"xapid: {path}:2: b: no such setting",
        ]
