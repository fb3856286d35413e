"""Settings from many files, what is told about them, and reading them again at SIGHUP."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st
from structlog.testing import capture_logs

import xapid.config as config_module
from xapid.__main__ import EX_CONFIG, main, read_config, versions
from xapid.config import Config, ConfigError, document, load, override
from xapid.config.reload import Reload

TOKENS = ["[listen]", "[[listen]]", "[xen", "https", "=", '"', "'", "{", "}", "[", "]", "\n"]
TOKENS += ["xen.driver", "1", "true", "nan", "1979-05-27", "#", ".", "\\", "'" * 3]


def written(directory: Path, text: str, name: str = "xapid.toml") -> Path:
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


class TestManyFiles:
    def test_drop_ins_win_in_the_order_of_their_names(self, tmp_path: Path) -> None:
        written(tmp_path, "[sessions]\nidle_s = 1\ntotal = 1\nper_user = 1\n")
        written(tmp_path, "[sessions]\nidle_s = 3\n", "conf.d/20-b.toml")
        written(tmp_path, "[sessions]\nidle_s = 2\ntotal = 2\n", "conf.d/10-a.toml")
        written(tmp_path, "nonsense", "conf.d/30-c.toml.off")

        sessions = load(tmp_path).sessions

        assert (sessions.idle_s, sessions.total, sessions.per_user) == (3, 2, 1)

    def test_mistakes_of_all_files_are_told_at_once(self, tmp_path: Path) -> None:
        written(tmp_path, "colour = 1\n")
        written(tmp_path, "[log\n", "conf.d/a.toml")
        written(tmp_path, "\n[xen]\n\nbuilds = 15\ncontexts = 16\n", "conf.d/b.toml")

        with pytest.raises(ConfigError) as refused:
            load(tmp_path)

        first, second, third = refused.value.mistakes
        assert first == f"{tmp_path}/xapid.toml:1: colour: no such setting"
        assert second.startswith(f"{tmp_path}/conf.d/a.toml:1: ")
        assert third == f"{tmp_path}/conf.d/b.toml:5: xen.contexts: 16 is below xen.builds + 2"

    def test_a_directory_without_files_changes_nothing(self, tmp_path: Path) -> None:
        assert load(tmp_path) == Config()

    def test_the_administrator_wins_over_the_package(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = written(
            tmp_path, 'state_dir = "/var/lib/xapid"\n[log]\nlevel = "error"\n', "defaults.toml"
        )
        written(tmp_path, '[log]\nlevel = "debug"\n', "etc/xapid.toml")
        monkeypatch.setattr(config_module, "PACKAGE_DEFAULTS", package)
        monkeypatch.setattr(config_module, "CONFIG_DIRECTORY", tmp_path / "etc")

        config = read_config([])

        assert (config.state_dir, config.log.level) == (Path("/var/lib/xapid"), "debug")


class TestEnvironment:
    def test_stands_above_all_files(self, tmp_path: Path) -> None:
        written(tmp_path, "[sessions]\nidle_s = 1\n[listen]\nhttps = 'h:1'\n")
        environment = {
            "XAPID_STATE_DIR": "/srv/xapid",
            "XAPID_SESSIONS_IDLE_S": "77",
            "XAPID_LISTEN_HTTPS": "[::1]:5",
            "XAPID_TLS_NAMES": "a.example, b.example",
            "XAPID_XENHOST_DIR": "not ours",
            "XAPID_MOCK_STATE": "nor this",
        }

        config = load(tmp_path, environment)

        assert config.state_dir == Path("/srv/xapid")
        assert config.sessions.idle_s == 77
        assert str(config.listen.https) == "[::1]:5"
        assert config.tls.names == ("a.example", "b.example")

    @pytest.mark.parametrize(
        ("variable", "text", "told"),
        [
            ("XAPID_LOG_LEVEL", "loud", "log.level: 'loud' is none of"),
            ("XAPID_SESSIONS_IDLE_S", "-1", "sessions.idle_s: '-1' is not a whole number"),
            ("XAPID_SESSIONS_TOTAL", "0", "sessions.total: 0 is below 1"),
            ("XAPID_LISTEN_COLOUR", "x", "no such setting"),
            ("XAPID_XEN_CONTEXTS", "2", "xen.contexts: 2 is below xen.builds + 2"),
        ],
    )
    def test_mistakes_name_the_variable(self, variable: str, text: str, told: str) -> None:
        with pytest.raises(ConfigError) as refused:
            load(None, {variable: text})

        [mistake] = refused.value.mistakes
        assert mistake.startswith(f"{variable} in the environment: {told}")

    def test_the_command_line_stands_above_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XAPID_LOG_LEVEL", "error")
        monkeypatch.setenv("XAPID_STATE_DIR", "/srv/xapid")

        config = read_config(["--config", str(tmp_path), "--log-level", "debug"])

        assert (config.log.level, config.state_dir) == ("debug", Path("/srv/xapid"))


class TestDocumentation:
    def test_the_page_is_current(self) -> None:
        page = Path(__file__).parents[2] / "docs/configuration.md"

        assert page.read_text() == document.manual(), "run make docs"

    def test_the_example_is_valid_and_changes_nothing(self, tmp_path: Path) -> None:
        commented = document.example()
        active = re.sub(r"(?m)^#(?=\S)", "", commented)

        assert load(written(tmp_path, commented)) == Config()
        assert load(written(tmp_path, active)) == Config()
        assert active.count(" = ") > commented.count(" = ") - 5
        assert commented.count("\n#") > 20

    def test_what_is_printed_can_be_read_again(self, tmp_path: Path) -> None:
        config = override(Config(), state_dir=tmp_path / 'a"b\\c\n\x7f\U0001f600', https="[::1]:5")

        printed = document.example(values=config)

        assert load(written(tmp_path, printed)) == config

    def test_a_secret_is_masked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        @dataclass(frozen=True)
        class Secretive:
            token: str = config_module.setting("", "A secret.", secret=True)

        monkeypatch.setattr(document, "Config", Secretive)
        monkeypatch.setattr(document, "get_type_hints", lambda _: {"token": str})

        shown = document.example(values=Secretive("s3cret"))  # type: ignore[arg-type]

        assert shown == 'token = "(hidden)"\n'


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS), max_size=30).map(" ".join)))
@trying(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_its_place(text: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "xapid.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        mistakes = mistakes_in(path)

    assert all(line.startswith(str(path)) for line in mistakes)


def mistakes_in(path: Path) -> list[str]:
    try:
        load(path)
    except ConfigError as error:
        return error.mistakes
    return []


class TestReload:
    async def test_gives_the_new_settings_to_whoever_uses_them(self) -> None:
        reload = Reload(Config(), lambda: override(Config(), log_level="debug"))
        seen: list[str] = []
        reload.on_change(lambda new: seen.append(new.log.level))

        await reload.again()

        assert seen == ["debug"]

    async def test_keeps_the_old_settings_when_the_new_are_wrong(self) -> None:
        def read() -> Config:
            raise ConfigError(["a.toml:1: x: no such setting"])

        reload, seen = Reload(Config(), read), []
        reload.on_change(lambda new: seen.append(new))

        with capture_logs() as logs:
            await reload.again()

        assert logs[0]["mistake"] == "a.toml:1: x: no such setting"
        assert seen == []

    async def test_tells_which_settings_wait_for_a_restart(self) -> None:
        new = override(Config(), https="h:1", log_level="error")

        with capture_logs() as logs:
            await Reload(override(Config()), lambda: new).again()

        assert logs[0]["changed"] == ["listen.https", "log.level"]
        assert logs[1]["settings"] == ["listen.https"]

    async def test_one_part_that_fails_does_not_keep_the_others_from_it(self) -> None:
        reload, seen = Reload(Config(), Config), asyncio.Event()

        async def fail(_: Config) -> None:
            raise OSError("cannot")

        async def take(_: Config) -> None:
            seen.set()

        reload.on_change(fail)
        reload.on_change(take)

        with capture_logs() as logs:
            await reload.again()

        assert seen.is_set()
        assert logs[0]["log_level"] == "error"

    async def test_sighup_reloads(self) -> None:
        done = asyncio.Event()
        reload = Reload(Config(), Config, done=done.set)
        before = signal.getsignal(signal.SIGHUP)
        reload.start()
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.wait_for(done.wait(), 10)
        finally:
            await reload.close()
            signal.signal(signal.SIGHUP, before)


class TestCommand:
    def test_checks_the_configuration(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--config", str(written(tmp_path, "")), "--check-config"]) == 0
        assert main(["--config", str(written(tmp_path, "a = 1")), "--check-config"]) == EX_CONFIG
        assert "no such setting" in capsys.readouterr().err

    def test_prints_the_settings_in_effect(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = written(tmp_path, "[sessions]\nidle_s = 77\n")

        assert main(["--config", str(path), "--https", "h:9", "--print-config"]) == 0

        printed = capsys.readouterr().out
        assert "idle_s = 77\n" in printed
        assert 'https = "h:9"\n' in printed

    def test_tells_the_versions_of_all_that_matters(self, tmp_path: Path) -> None:
        for name, text in (("type", "xen"), ("major", "4"), ("minor", "17"), ("extra", ".5")):
            written(tmp_path, text + "\n", name if name == "type" else f"version/{name}")

        told = versions(tmp_path)

        assert [line.split()[0] for line in told] == ["xapid", "XenAPI", "libxl", "Xen", "schema"]
        assert told[3] == "Xen 4.17.5"
        assert int(told[4].split()[1]) >= 1
        assert versions(tmp_path / "none")[3] == "Xen does not run"
