"""Where settings come from, which source wins, and what a message says about a wrong one."""

import re
from pathlib import Path

import pytest

from tests.equipment.settings import FOLDERS, complaint, load
from watcher.config.flags import PUBLIC
from watcher.config.load import MissingSourceOrSink, load_settings, nearest_variable, unknown_variables
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError


def test_source_and_sink_are_enough() -> None:
    settings = load()
    assert settings == Settings(source="in", sink="out")
    assert (settings.devices, settings.batch, settings.canvas, settings.settle) == ("auto", 0, None, 2)


def test_a_flag_overrides_a_variable_which_overrides_the_file_which_overrides_the_default(
    tmp_path: Path,
) -> None:
    config = tmp_path / "a.toml"
    config.write_text("batch = 3\npoll = 3\nrescan = 3\n", "utf-8")
    environ = {"ALPHADROP_BATCH": "2", "ALPHADROP_POLL": "2"}
    settings = load("--config", str(config), "--batch", "1", environ=environ)
    assert (settings.batch, settings.poll, settings.rescan, settings.settle) == (1, 2, 3, 2)


def test_source_and_sink_may_come_from_a_variable_and_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_text('sink = "b"\n', "utf-8")
    settings = load_settings([], environ={"ALPHADROP_SOURCE": "a"})
    assert (settings.source, settings.sink) == ("a", "b")


def test_the_file_in_the_working_directory_is_read_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_text("batch = 4\n", "utf-8")
    other = tmp_path / "other.toml"
    other.write_text("poll = 4\n", "utf-8")
    assert load().batch == 4
    settings = load(environ={"ALPHADROP_CONFIG": str(other)})
    assert (settings.batch, settings.poll) == (0, 4)


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(environ={"ALPHADROP_BATCH": "", "ALPHADROP_CONFIG": ""}).batch == 0


def test_the_environment_of_the_process_is_read_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHADROP_BATCH", "7")
    assert load_settings(FOLDERS).batch == 7
    assert Settings(source="in", sink="out").batch == 0, "a value reads nothing"


def test_a_flag_can_turn_off_a_switch_that_a_variable_has_turned_on() -> None:
    environ = {"ALPHADROP_EXCLUDE_SINK": "true"}
    assert load(environ=environ).exclude_sink is True
    assert load("--no-exclude-sink", environ=environ).exclude_sink is False


@pytest.mark.parametrize(("name", "nearest"), [("bacth", "batch"), ("max-wait-ms", "max_wait_ms")])
def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_name(tmp_path: Path, name: str, nearest: str) -> None:
    (tmp_path / "alphadrop.toml").write_text(f"{name} = 1\n", "utf-8")
    assert f"alphadrop.toml: {name} is not a setting; the nearest one is {nearest}" in complaint()


def test_an_unknown_key_that_is_like_no_setting_is_refused_with_the_command_that_lists_them(tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_text("zzz = 1\n", "utf-8")
    assert complaint() == "alphadrop.toml: zzz is not a setting; `alphadrop run --help` lists them."


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("batch = true", "batch: must be an integer, not true"),
        ("png_level = false", "png_level: must be an integer, not false"),
        ("max_pixels = true", "max_pixels: must be an integer, not true"),
        ("canvas = true", "canvas: must be an integer, not true"),
        ("batch = 1.5", "batch: must be an integer, not 1.5"),
        ("settle = true", "settle: must be a number, not true"),
        ("rescan = true", "rescan: must be a number, not true"),
        ("max_wait_ms = true", "max_wait_ms: must be a number, not true"),
        ("exclude_sink = 1", "exclude_sink: must be true or false, not 1"),
        ("s3_path_style = 0.0", "s3_path_style: must be true or false, not 0.0"),
        ('exclude_sink = "perhaps"', "exclude_sink: must be true or false, not 'perhaps'"),
        ("http = 9464", "http: must be a string, not 9464"),
        ("model = true", "model: must be a string, not true"),
        ("state = 3", "state: must be a path, not 3"),
        ("log_level = true", "log_level: must be 'debug', 'info', 'warning' or 'error', not true"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_right_type(tmp_path: Path, line: str, wanted: str) -> None:
    (tmp_path / "alphadrop.toml").write_text(f"{line}\n", "utf-8")
    assert complaint() == f"alphadrop.toml: {wanted}."


@pytest.mark.parametrize(
    "value", ["true", "7", "7.5", '"x y"', "[1]", "{ a = 1 }", "1979-05-27", "1979-05-27T07:32:00Z"]
)
def test_no_message_mentions_python_or_pydantic(tmp_path: Path, value: str) -> None:
    (tmp_path / "alphadrop.toml").write_text("\n".join(f"{name} = {value}" for name in PUBLIC), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings([], environ={})
    for line in str(caught.value).splitlines():
        assert re.match(r'alphadrop\.toml: (\w+|output 1( \("x y"\): preset)?): (must|takes|is|has) ', line), line
        assert not re.search("Input|<class|pydantic|datetime|a valid ", line), line


def test_a_file_may_have_a_byte_order_mark_and_line_endings_of_windows(tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_bytes(b"\xef\xbb\xbfbatch = 4\r\npoll = 3\r\n")
    settings = load()
    assert (settings.batch, settings.poll) == (4, 3)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_with_the_right_one(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "alphadrop.toml").write_bytes('model = "möbel"\n'.encode(encoding))
    assert complaint() == "alphadrop.toml is not in UTF-8: save it in that encoding."


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ('[alphadrop]\nsource = "in"\nbatch = 3\n', ["[alphadrop]"]),
        ('[tool.alphadrop]\nsource = "in"\nbatch = 3\n', ["[tool.alphadrop]"]),
        ('[daemon.run]\nsource = "in"\n[daemon.once]\nbatch = 3\n', ["[daemon.run]", "[daemon.once]"]),
    ],
)
def test_a_table_is_refused_with_the_remedy_and_its_keys_are_not_reported_as_missing(
    tmp_path: Path, text: str, headers: list[str]
) -> None:
    (tmp_path / "alphadrop.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings([], environ={"ALPHADROP_SINK": "out"})
    remedy = "is a table: remove this line, since settings stand outside of tables."
    assert str(caught.value).splitlines() == [f"alphadrop.toml: {header} {remedy}" for header in headers]


def test_a_missing_source_or_sink_has_an_error_class_of_its_own_if_nothing_else_is_wrong() -> None:
    with pytest.raises(MissingSourceOrSink, match=r"^SINK is missing"):
        load_settings(["in"], environ={})
    with pytest.raises(ConfigurationError) as caught:
        load_settings(["in", "--batch", "-1"], environ={})
    assert type(caught.value) is ConfigurationError
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["--batch", "SINK is missing"]


def test_a_command_that_uses_no_source_and_sink_needs_none() -> None:
    assert load_settings(["--batch", "3"], environ={}, need_source_and_sink=False).batch == 3
    assert load_settings(["in"], environ={"ALPHADROP_SINK": "b"}, need_source_and_sink=False).source == "in"
    with pytest.raises(ConfigurationError, match="--batch"):
        load_settings(["--batch", "x"], environ={}, need_source_and_sink=False)


def test_every_problem_is_a_line_that_names_the_flag_variable_or_key(tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_text('poll = 0\nsettle = "soon"\ndrian = 1\n', "utf-8")
    lines = complaint("--batch", "-1", "--canvas", "100", environ={"ALPHADROP_WATCH": "sometimes"}).splitlines()
    assert set(lines) == {
        "alphadrop.toml: drian is not a setting; the nearest one is drain.",
        "alphadrop.toml: poll: must be greater than 0, not 0.",
        "alphadrop.toml: settle: must be a number, not 'soon'.",
        "--batch: must be greater than or equal to 0, not '-1'.",
        "--canvas: must be a multiple of 64, not '100'.",
        "ALPHADROP_WATCH: must be 'auto', 'events' or 'polling', not 'sometimes'.",
    }


def test_a_missing_source_and_sink_are_reported_with_every_way_to_give_them() -> None:
    with pytest.raises(MissingSourceOrSink) as caught:
        load_settings([], environ={})
    source, sink = str(caught.value).splitlines()
    assert (
        source
        == "SOURCE is missing: give a folder or s3://BUCKET/PREFIX as the first argument, or set ALPHADROP_SOURCE."
    )
    assert sink == "SINK is missing: give a folder or s3://BUCKET/PREFIX as the second argument, or set ALPHADROP_SINK."


def test_a_file_that_is_named_must_exist_and_be_valid_toml(tmp_path: Path) -> None:
    assert "no.toml does not exist" in complaint("--config", "no.toml")
    assert "is not a file" in complaint("--config", str(tmp_path))
    (tmp_path / "alphadrop.toml").write_text("batch = = 1\n", "utf-8")
    assert "alphadrop.toml is not valid TOML" in complaint()
    assert "line 1" in complaint()


def test_the_test_hook_can_only_be_set_by_its_variable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(environ={"ALPHADROP_TEST_HOOK": "kill:x"}).test_hook == "kill:x"
    with pytest.raises(SystemExit):
        load("--test-hook", "kill:x")
    (tmp_path / "alphadrop.toml").write_text('test_hook = "x"\n', "utf-8")
    assert "test_hook is not a setting" in complaint()
    with pytest.raises(SystemExit):
        load("--help")
    assert "test-hook" not in capsys.readouterr().out


def test_an_unknown_variable_is_found_unless_kubernetes_sets_it() -> None:
    environ = {
        "ALPHADROP_BACTH": "1",
        "ALPHADROP_BATCH": "1",
        "ALPHADROP_CONFIG": "x",
        "ALPHADROP_SERVICE_HOST": "10.0.0.1",
        "ALPHADROP_PORT_9464_TCP": "tcp://10.0.0.1:9464",
        "ALPHADROP_METRICS_SERVICE_PORT_HTTP": "9464",
        "HOME": "/",
    }
    assert unknown_variables(environ) == ["ALPHADROP_BACTH"]
    assert nearest_variable("ALPHADROP_BACTH") == "ALPHADROP_BATCH"


@pytest.mark.parametrize("line", ['events_token = ["s3cr3t"]', 'queue = {a = "s3cr3t"}', 'events = ["s3cr3t"]'])
def test_a_password_of_the_wrong_type_is_not_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / "alphadrop.toml").write_text(f"{line}\n", "utf-8")
    assert "s3cr3t" not in complaint() and "must be a string" in complaint()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--strong-share", "0.2"], "--strong-share needs --strong"),
        (["--strong", "fake", "--strong-share", "0.2", "--strong-below", "0.5"], "exclude each other"),
        (["--strong", "fake", "--strong-below", "1.5"], "--strong-below: must be less than or equal to 1"),
    ],
)
def test_the_settings_of_a_cascade_must_agree(words: list[str], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        load_settings(["photos", "cutouts", *words], environ={})
