"""Settings: where they come from, in which order, and what is said about wrong ones."""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from watcher.config.flags import PUBLIC, Parser, add_settings_arguments, group_of
from watcher.config.load import MissingPlaces, load_settings, nearest_variable, unknown_variables
from watcher.config.preflight import check_places
from watcher.config.settings import Group, Settings
from watcher.core.errors import ConfigurationError
from watcher.core.jobs import Mode

FOLDERS = ("in", "out")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test works in a folder of its own, where no alphadrop.toml lies."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(*args: str, environ: Mapping[str, str] | None = None) -> Settings:
    return load_settings([*FOLDERS, *args], environ=environ or {})


def complaint(*args: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(*args, environ=environ)
    return str(caught.value)


def write(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def test_two_folders_are_enough() -> None:
    settings = load()
    assert settings == Settings(source="in", sink="out")
    assert (settings.devices, settings.batch, settings.canvas, settings.settle) == ("auto", 0, None, 2)


def test_cuda_graphs_are_used_unless_they_are_off() -> None:
    assert load().cuda_graphs == "auto"
    assert load("--cuda-graphs", "off").cuda_graphs == "off"
    assert "--cuda-graphs" in complaint("--cuda-graphs", "perhaps")


def test_a_flag_goes_before_the_environment_and_that_before_the_file_and_that_before_the_default(
    tmp_path: Path,
) -> None:
    config = write(tmp_path / "a.toml", "batch = 3\npoll = 3\nrescan = 3\n")
    environ = {"ALPHADROP_BATCH": "2", "ALPHADROP_POLL": "2"}
    settings = load("--config", config, "--batch", "1", environ=environ)
    assert (settings.batch, settings.poll, settings.rescan, settings.settle) == (1, 2, 3, 2)


def test_folders_may_come_from_the_environment_and_from_the_file(tmp_path: Path) -> None:
    write(tmp_path / "alphadrop.toml", 'sink = "b"\n')
    settings = load_settings([], environ={"ALPHADROP_SOURCE": "a"})
    assert (settings.source, settings.sink) == ("a", "b")


def test_the_working_folders_file_is_read_unless_another_is_named(tmp_path: Path) -> None:
    write(tmp_path / "alphadrop.toml", "batch = 4\n")
    other = write(tmp_path / "other.toml", "poll = 4\n")
    assert load().batch == 4
    settings = load(environ={"ALPHADROP_CONFIG": other})
    assert (settings.batch, settings.poll) == (0, 4)


def test_an_empty_variable_is_as_good_as_none() -> None:
    assert load(environ={"ALPHADROP_BATCH": "", "ALPHADROP_CONFIG": ""}).batch == 0


def test_the_real_environment_is_read_where_no_other_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHADROP_BATCH", "7")
    assert load_settings(FOLDERS).batch == 7
    assert Settings(source="in", sink="out").batch == 0, "a value reads nothing"


def test_a_setting_cannot_be_changed_and_knows_no_strangers() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        Settings.__setattr__(settings, "batch", 3)
    with pytest.raises(ValidationError):
        Settings(source="in", sink="out", bacth=3)  # type: ignore[call-arg]


def test_a_switch_can_be_turned_off_again() -> None:
    environ = {"ALPHADROP_EXCLUDE_SINK": "true"}
    assert load(environ=environ).exclude_sink is True
    assert load("--no-exclude-sink", environ=environ).exclude_sink is False


@pytest.mark.parametrize(("name", "nearest"), [("bacth", "batch"), ("max-wait-ms", "max_wait_ms"), ("zzz", "")])
def test_an_unknown_key_of_the_file_is_an_error_that_names_the_nearest_one(
    tmp_path: Path, name: str, nearest: str
) -> None:
    write(tmp_path / "alphadrop.toml", f"{name} = 1\n")
    assert f"alphadrop.toml: {name} is not a setting; the nearest one is {nearest}" in complaint()


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
def test_a_value_of_the_wrong_type_is_refused_with_the_type_that_is_right(
    tmp_path: Path, line: str, wanted: str
) -> None:
    write(tmp_path / "alphadrop.toml", f"{line}\n")
    assert complaint() == f"alphadrop.toml: {wanted}."


@pytest.mark.parametrize(
    "value", ["true", "7", "7.5", '"x y"', "[1]", "{ a = 1 }", "1979-05-27", "1979-05-27T07:32:00Z"]
)
def test_no_message_is_about_python_or_pydantic(tmp_path: Path, value: str) -> None:
    write(tmp_path / "alphadrop.toml", "\n".join(f"{name} = {value}" for name in PUBLIC))
    with pytest.raises(ConfigurationError) as caught:
        load_settings([], environ={})
    for line in str(caught.value).splitlines():
        assert re.match(r"alphadrop\.toml: \w+: (must|takes|is|has) ", line), line
        assert not re.search("Input|<class|pydantic|datetime|a valid ", line), line


def test_a_file_may_begin_with_a_byte_order_mark_and_have_the_line_ends_of_windows(tmp_path: Path) -> None:
    (tmp_path / "alphadrop.toml").write_bytes(b"\xef\xbb\xbfbatch = 4\r\npoll = 3\r\n")
    settings = load()
    assert (settings.batch, settings.poll) == (4, 3)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_with_the_right_one(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "alphadrop.toml").write_bytes('model = "möbel"\n'.encode(encoding))
    assert complaint() == "alphadrop.toml is not in UTF-8: save it in that encoding."


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ('[alphadrop]\nsource = "in"\nbatch = 3\n', "[alphadrop]"),
        ('[tool.alphadrop]\nsource = "in"\nbatch = 3\n', "[tool.alphadrop]"),
        ('[settings.run]\nsource = "in"\n[settings.once]\nbatch = 3\n', "[settings]"),
    ],
)
def test_a_table_is_named_with_the_remedy_and_what_stands_in_it_is_not_called_missing(
    tmp_path: Path, text: str, header: str
) -> None:
    write(tmp_path / "alphadrop.toml", text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings([], environ={"ALPHADROP_SINK": "out"})
    remedy = "is a table: remove this line, since settings stand outside of tables."
    assert str(caught.value) == f"alphadrop.toml: {header} {remedy}"


def test_a_missing_place_is_an_error_of_its_own_only_where_nothing_else_is_wrong() -> None:
    with pytest.raises(MissingPlaces, match=r"^SINK is missing"):
        load_settings(["in"], environ={})
    with pytest.raises(ConfigurationError) as caught:
        load_settings(["in", "--batch", "-1"], environ={})
    assert type(caught.value) is ConfigurationError
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["--batch", "SINK is missing"]


def test_a_command_that_uses_no_places_needs_none() -> None:
    assert load_settings(["--batch", "3"], environ={}, need_places=False).batch == 3
    assert load_settings(["in"], environ={"ALPHADROP_SINK": "b"}, need_places=False).source == "in"
    with pytest.raises(ConfigurationError, match="--batch"):
        load_settings(["--batch", "x"], environ={}, need_places=False)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command with every setting prints for words that it does not understand."""
    parser = Parser(prog="alphadrop")
    once = parser.add_subparsers().add_parser("once")
    add_settings_arguments(once)
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["once", "in", "out", *words])
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--bacth", "--batch"),
        ("--png_level=3", "--png-level"),
        ("--MODEL", "--model"),
        ("--no-exclude-sinks", "--no-exclude-sink"),
        ("--contract=u2net", "--model-contract"),
        ("-x", "--"),
    ],
)
def test_an_unknown_flag_is_named_with_the_nearest_one_and_the_way_to_the_help(
    capsys: pytest.CaptureFixture[str], word: str, nearest: str
) -> None:
    said = refusal(capsys, word, "3")
    flag = word.partition("=")[0]
    assert said.startswith("alphadrop once: error: ")
    assert f"{flag} is not a flag of `alphadrop once`; the nearest one is {nearest}" in said
    assert said.endswith(". See `alphadrop once --help`.\n") and said.count("\n") == 1


def test_a_surplus_argument_and_a_flag_without_its_value_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for word, said in (("more", "unexpected argument 'more'"), ("--batch", "argument --batch: expected one argument")):
        assert refusal(capsys, word) == f"alphadrop once: error: {said}. See `alphadrop once --help`.\n"


def test_every_problem_has_a_line_that_says_where_it_is(tmp_path: Path) -> None:
    write(tmp_path / "alphadrop.toml", 'poll = 0\nsettle = "soon"\ndrian = 1\n')
    lines = complaint("--batch", "-1", "--canvas", "100", environ={"ALPHADROP_WATCH": "sometimes"}).splitlines()
    assert set(lines) == {
        "alphadrop.toml: drian is not a setting; the nearest one is drain.",
        "alphadrop.toml: poll: must be greater than 0, not 0.",
        "alphadrop.toml: settle: must be a number, not 'soon'.",
        "--batch: must be greater than or equal to 0, not '-1'.",
        "--canvas: must be a multiple of 64, not '100'.",
        "ALPHADROP_WATCH: must be 'auto', 'events' or 'polling', not 'sometimes'.",
    }


def test_a_contract_is_one_of_those_that_are_known() -> None:
    assert load("--model-contract", "modnet").model_contract == "modnet"
    assert "--model-contract: must be one of u2net, isnet," in complaint("--model-contract", "sam")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"U2NET_HOME": "/srv/models", "XDG_DATA_HOME": "/data"}, "/srv/models"),
        ({"XDG_DATA_HOME": "/data"}, "/data/.u2net"),
        ({"HOME": "/home/me"}, "/home/me/.u2net"),
        ({"HOME": "/home/me", "U2NET_HOME": ""}, "/home/me/.u2net"),
        ({"HOME": "/home/me", "U2NET_HOME": "~/models"}, "/home/me/models"),
    ],
)
def test_rembgs_models_are_looked_for_where_rembg_puts_them(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], folder: str
) -> None:
    for name in ("U2NET_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(load().rembg_path) == folder


def test_missing_folders_are_asked_for() -> None:
    with pytest.raises(MissingPlaces) as caught:
        load_settings([], environ={})
    source, sink = str(caught.value).splitlines()
    assert (
        source
        == "SOURCE is missing: give a folder or s3://BUCKET/PREFIX as the first argument, or set ALPHADROP_SOURCE."
    )
    assert sink == "SINK is missing: give a folder or s3://BUCKET/PREFIX as the second argument, or set ALPHADROP_SINK."


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--devices", "gpu", "cuda:0,cuda:1"),
        ("--devices", "cpu,", "auto, or a list"),
        ("--devices", "cuda", "auto, or a list"),
        ("--devices", "fake:2", "auto, or a list"),
        ("--devices", "auto,cpu", "auto, or a list"),
        ("--http", "9464", "HOST:PORT"),
        ("--http", ":9464", "0.0.0.0:9464"),
        ("--http", "localhost:99999", "off"),
        ("--output-name", "{dir}{stem}.jpg", "must end in .png"),
        ("--output-name", "/{stem}.png", "inside the sink"),
        ("--output-name", "../{stem}.png", "inside the sink"),
        ("--output-name", "{folder}{stem}.png", "not {folder}"),
        ("--output-name", "{stem.__class__}.png", "not {stem.__class__}"),
        ("--output-name", "{stem:>9}.png", "not {stem:>9}"),
        ("--output-name", "{stem!r}.png", "not {stem!r}"),
        ("--output-name", "{}{stem}.png", "not {}"),
        ("--output-name", "{dir}x.png", "share one output"),
        ("--output-name", "{stem.png", "is not a valid pattern"),
        ("--png-level", "9", "less than or equal to 3"),
        ("--drain", "inf", "finite"),
        ("--max-wait-ms", "nan", "finite"),
        ("--log-level", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("--model", "", "at least 1 character"),
        ("--after", "burn", "must be keep, tag, delete, or move:PREFIX"),
        ("--after", "move:", "move:PREFIX"),
        ("--after", "move:/x", "move:PREFIX"),
        ("--events", "sometimes", "listing, queue, webhook"),
        ("--queue", "redis://x", "sqs://NAME"),
        ("--s3-endpoint", "minio:9000", "https://minio.example:9000"),
        ("--s3-endpoint", "http://minio:9000/x", "without a path"),
        ("--s3-tags", "a=b,c", "team=shop"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(flag: str, value: str, words: str) -> None:
    message = complaint(flag, value)
    assert message.startswith(f"{flag}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://bucket/key", "gs:// is not supported"),
        ("file://host/x", "file:///path"),
        ("s3://", "must be s3://BUCKET"),
        ("s3://_/x", "must be s3://BUCKET"),
        ("s3://bucket//x", "two slashes"),
        (" ", "must name a folder"),
    ],
)
def test_only_folders_of_this_machine_and_buckets_are_taken(address: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_settings(["in", address], environ={})
    assert str(caught.value).startswith("SINK: ")


@pytest.mark.parametrize("value", ["auto", "cpu", "cpu:2", "cuda:0,cuda:1", "cuda:0, cpu:1"])
def test_devices_are_a_list(value: str) -> None:
    assert load("--devices", value).devices == value


def test_the_file_must_be_there_if_it_is_named_and_be_toml(tmp_path: Path) -> None:
    assert "no.toml does not exist" in complaint("--config", "no.toml")
    write(tmp_path / "alphadrop.toml", "batch = = 1\n")
    assert "alphadrop.toml is not valid TOML" in complaint()
    assert "line 1" in complaint()


def test_the_log_level_may_be_in_capitals() -> None:
    assert load(environ={"ALPHADROP_LOG_LEVEL": "WARNING"}).log_level == "warning"


def test_the_address_of_the_pages() -> None:
    assert load().http_address == ("127.0.0.1", 9464)
    assert load("--http", "[::1]:0").http_address == ("::1", 0)
    assert load("--http", "off").http_address is None


def test_the_hook_of_the_tests_is_a_variable_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(environ={"ALPHADROP_TEST_HOOK": "kill:x"}).test_hook == "kill:x"
    with pytest.raises(SystemExit):
        load("--test-hook", "kill:x")
    write(tmp_path / "alphadrop.toml", 'test_hook = "x"\n')
    assert "test_hook is not a setting" in complaint()
    with pytest.raises(SystemExit):
        load("--help")
    assert "test-hook" not in capsys.readouterr().out


def test_help_tells_of_every_setting_its_default_and_the_other_ways_to_set_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        load("--help")
    text = " ".join(capsys.readouterr().out.split())
    for name in PUBLIC.keys() - {"source", "sink"}:
        assert "--" + name.replace("_", "-") in text
    for words in ("--drain SECONDS", "(default: 25)", "--watch auto|events|polling", "ALPHADROP_MAX_WAIT_MS", *Group):
        assert words in text


def test_every_setting_is_in_one_group_and_described() -> None:
    for name, info in Settings.model_fields.items():
        assert info.description, name
        groups = [mark for mark in info.metadata if isinstance(mark, Group)]
        assert len(groups) == (0 if name == "test_hook" else 1), name
        assert group_of(info) == next(iter(groups), None)


def test_a_command_can_have_some_of_the_settings_only() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    add_settings_arguments(commands.add_parser("run"))
    add_settings_arguments(commands.add_parser("status"), "source", "sink", "state", "output_name")
    settings = load_settings(parser.parse_args(["status", *FOLDERS, "--state", "q"]), environ={"ALPHADROP_BATCH": "5"})
    assert (settings.state, settings.batch) == (Path("q"), 5)
    assert load_settings(parser.parse_args(["run", *FOLDERS, "--batch", "3"]), environ={}).batch == 3
    with pytest.raises(SystemExit):
        parser.parse_args(["status", *FOLDERS, "--batch", "3"])


def test_a_command_can_have_a_group() -> None:
    parser = argparse.ArgumentParser()
    add_settings_arguments(parser, "Source and sink", "devices")
    assert parser.parse_args(["--devices", "cpu", "--state", "q"]).devices == "cpu"
    with pytest.raises(SystemExit):
        parser.parse_args(["--model", "nano"])


def test_a_variable_that_means_nothing_is_told_of_but_not_one_that_kubernetes_sets() -> None:
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


def test_state_is_the_same_for_every_way_to_write_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    one = Settings(source="in", sink="out").state_path
    assert one.parent == tmp_path / "state" / "alphadrop"
    assert len(one.name) == 16
    for source in (tmp_path / "in", "./in/", "link", (tmp_path / "in").as_uri()):
        assert Settings(source=str(source), sink="out").state_path == one
    assert Settings(source="in", sink="other").state_path != one
    assert Settings(source="out", sink="in").state_path != one


def test_state_is_below_home_where_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(source="in", sink="out").state_path.parent == tmp_path / ".local/state/alphadrop"
    assert Settings(source="in", sink="out", state=Path("~/q")).state_path == tmp_path / "q"


def test_a_file_address_is_a_path(tmp_path: Path) -> None:
    assert Settings(source="file:///a%20b", sink="~/x").source_path == Path("/a b")
    assert Settings(source="in", sink="out").sink_path == tmp_path / "out"


@pytest.mark.parametrize("address", ["s3://box/in", "s3://box/in/", "S3://box/in//"])
def test_a_bucket_has_one_address(address: str) -> None:
    settings = Settings(source=address, sink="out")
    assert (settings.source_uri, settings.source_path) == ("s3://box/in/", None)


@pytest.mark.parametrize(
    ("address", "uri"),
    [("s3://box", "s3://box/"), ("s3://box/", "s3://box/"), ("s3://box/a b/ü%", "s3://box/a%20b/%C3%BC%25/")],
)
def test_a_prefix_is_taken_as_it_stands(address: str, uri: str) -> None:
    assert Settings(source=address, sink="out").source_uri == uri


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    secret = "s3cr3t"
    assert secret not in complaint("--queue", f"rabbit://me:{secret}@host/")
    assert secret not in complaint("--events", f"amqp//me:{secret}@host/")
    environ = {"ALPHADROP_EVENTS_TOKEN": secret, "ALPHADROP_QUEUE": f"amqp://me:{secret}@host/?queue=q"}
    assert secret not in repr(load(environ=environ))


@pytest.mark.parametrize("line", ['events_token = ["s3cr3t"]', 'queue = {a = "s3cr3t"}', 'events = ["s3cr3t"]'])
def test_a_password_of_the_wrong_type_is_not_shown_either(tmp_path: Path, line: str) -> None:
    write(tmp_path / "alphadrop.toml", f"{line}\n")
    assert "s3cr3t" not in complaint() and "must be a string" in complaint()


@pytest.mark.parametrize(
    "place", ["s3://KEY:s3cr3t@b/in", "s3://KEY:s3/cr3t@b", "s3n://KEY:s3cr3t@b", "file://me:s3cr3t@h/x"]
)
def test_a_place_takes_no_password_and_does_not_repeat_it(place: str) -> None:
    with pytest.raises(ConfigurationError, match="takes no user, key or password") as caught:
        load_settings([place, "out"], environ={})
    assert "cr3t" not in str(caught.value)


def test_an_endpoint_takes_no_password_and_does_not_repeat_it() -> None:
    message = complaint("--s3-endpoint", "https://KEY:s3cr3t@minio:9000")
    assert "takes no user, key or password" in message and "s3cr3t" not in message


@pytest.mark.parametrize(
    "words",
    [["--quue=amqp://me:s3cr3t@h/?queue=q"], ["--events_token", "s3cr3t"], ["--event-token=s3cr3t"], ["--q", "a"]],
)
def test_a_command_line_that_is_not_understood_is_quoted_without_passwords(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="alphadrop")
    add_settings_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["in", "out", "more", *words])
    said = capsys.readouterr().err
    assert words[0].partition("=")[0] in said or "more" in said
    assert "s3cr3t" not in said


def test_listings_are_rarer_where_events_are_heard() -> None:
    def seconds(source: str, *args: str) -> float:
        return load_settings([source, "out", *args], environ={}).rescan_seconds

    assert seconds("in") == seconds("s3://box") == 60
    assert seconds("s3://box", "--events", "sqs://q") == seconds("s3://box", "--events", "webhook") == 900
    assert seconds("s3://box", "--events", "sqs://q", "--rescan", "5") == 5


class TestBuckets:
    """What must be so before the daemon starts, as far as addresses tell."""

    def check(self, source: str, sink: str, *args: str) -> str:
        try:
            check_places(load_settings([source, sink, "--state", "state", *args], environ={}))
        except ConfigurationError as error:
            return str(error)
        return ""

    def test_two_prefixes_or_two_buckets_are_fine(self) -> None:
        for source, sink in (
            ("s3://box/in", "s3://box/out"),
            ("s3://box", "s3://cup"),
            ("s3://box/in", "s3://box/in-out"),
        ):
            assert self.check(source, sink) == ""

    def test_a_bucket_and_a_folder_are_fine(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert self.check("in", "s3://box/out") == self.check("s3://box/in", "out") == ""
        assert "does not exist" in self.check("none", "s3://box/out")

    def test_one_prefix_cannot_be_both_and_neither_may_hold_the_other(self) -> None:
        assert "are the same" in self.check("s3://box/x", "s3://box/x/")
        assert "--exclude-sink" in self.check("s3://box", "s3://box/out")
        assert self.check("s3://box", "s3://box/out", "--exclude-sink") == ""
        assert "is inside SINK" in self.check("s3://box/in", "s3://box", "--exclude-sink")

    def test_only_a_buckets_images_are_touched_after_success(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert "--after needs a bucket" in self.check("in", "out", "--after", "delete")
        assert self.check("s3://box/in", "out", "--after", "move:done") == ""
        assert "choose another prefix" in self.check("s3://box/done/in", "out", "--after", "move:done")

    def test_images_are_not_moved_onto_outputs(self) -> None:
        for prefix, sink in (("out", "out"), ("out/done", "out"), ("all", "all/out")):
            refused = self.check("s3://box/in", f"s3://box/{sink}", "--after", f"move:{prefix}")
            assert "over them" in refused

    def test_a_queue_is_not_to_fill_itself(self) -> None:
        refused = self.check("s3://box/in", "s3://box/out", "--events", "sqs://jobs", "--queue", "sqs://jobs")
        assert "use --events queue" in refused

    def test_a_brokers_address_must_be_whole(self) -> None:
        for flag in ("--queue", "--events"):
            refused = self.check("s3://box/in", "s3://box/out", flag, "amqp://me:s3cr3t@rabbit/")
            assert refused.startswith(f"{flag}: ") and "queue=NAME" in refused and "s3cr3t" not in refused

    def test_events_need_what_they_come_through(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        assert "see --watch" in self.check("in", "out", "--events", "webhook", "--events-token", "x")
        once = load_settings(["s3://box/in", "out", "--events", "webhook"], environ={})
        check_places(once, Mode.ONCE)
        assert "needs --queue" in self.check("s3://box/in", "out", "--events", "queue")
        assert "ALPHADROP_EVENTS_TOKEN" in self.check("s3://box/in", "out", "--events", "webhook")
        assert "--http" in self.check(
            "s3://box/in", "out", "--events", "webhook", "--events-token", "x", "--http", "off"
        )


class TestFolders:
    """What must be so before the daemon starts."""

    def check(self, source: str, sink: str, *args: str) -> str:
        """The complaint, or nothing; nothing is made by looking."""
        try:
            check_places(load_settings([source, sink, "--state", "state", *args], environ={}))
        except ConfigurationError as error:
            return str(error)
        finally:
            assert not Path("state").exists()
        return ""

    @pytest.fixture(autouse=True)
    def source(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "file").touch()

    def test_a_sink_need_not_exist(self) -> None:
        assert self.check("in", "new/out") == ""
        assert not Path("new").exists()

    def test_the_source_must_exist_and_be_a_folder(self) -> None:
        assert "SOURCE" in (message := self.check("no", "out"))
        assert "does not exist" in message
        assert "is not a folder" in self.check("file", "out")

    def test_the_sink_must_be_possible(self) -> None:
        message = self.check("in", "file/out")
        assert "SINK" in message
        assert "file is not one" in message
        assert "choose another" in message

    def test_nothing_goes_where_nothing_may_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.access", lambda *_: False)
        message = self.check("in", "out")
        assert "SOURCE" in message
        assert "SINK" in message
        assert "--state" in message
        assert message.count("permission") == 3

    def test_one_folder_cannot_be_both(self) -> None:
        Path("link").symlink_to("in")
        for sink in ("in", "link", "in/deep/.."):
            assert "are the same folder" in self.check("in", sink)
        assert "are the same folder" in self.check("in", "in", "--exclude-sink")

    def test_the_sink_may_be_in_the_source_only_if_it_is_excluded(self) -> None:
        Path("link").symlink_to("in/deep")
        for sink in ("in/out", "in/deep/x/y", "link/out"):
            message = self.check("in", sink)
            assert "choose another folder" in message
            assert "--exclude-sink" in message
        assert self.check("in", "in/out", "--exclude-sink") == ""
        assert self.check("in", "in-out") == ""

    def test_the_source_may_not_be_in_the_sink(self) -> None:
        for args in ((), ("--exclude-sink",)):
            assert "is inside SINK" in self.check("in/deep", "in", *args)

    def test_the_state_may_not_be_in_the_source(self) -> None:
        assert "--state" in self.check("in", "out", "--state", "in/state")
