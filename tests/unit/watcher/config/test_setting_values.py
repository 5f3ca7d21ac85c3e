"""Single settings: valid values, canonical addresses, and values that follow from others."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.equipment.settings import complaint, load
from watcher.config.load import load_settings
from watcher.config.settings import Settings
from watcher.core.errors import ConfigurationError


def test_cuda_graphs_are_on_unless_turned_off() -> None:
    assert load().cuda_graphs == "auto"
    assert load("--cuda-graphs", "off").cuda_graphs == "off"
    assert "--cuda-graphs" in complaint("--cuda-graphs", "perhaps")


def test_settings_are_frozen_and_refuse_unknown_names() -> None:
    settings = load()
    with pytest.raises(ValidationError):
        Settings.__setattr__(settings, "batch", 3)
    with pytest.raises(ValidationError):
        Settings(source="in", sink="out", bacth=3)  # type: ignore[call-arg]


def test_an_unknown_contract_is_refused_with_the_known_ones() -> None:
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
def test_models_of_rembg_are_looked_for_where_rembg_keeps_them(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], folder: str
) -> None:
    for name in ("U2NET_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(load().rembg_path) == folder


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
def test_an_invalid_value_is_refused_with_what_would_be_valid(flag: str, value: str, words: str) -> None:
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
def test_a_place_is_a_local_folder_or_a_bucket(address: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_settings(["in", address], environ={})
    assert str(caught.value).startswith("SINK: ")


@pytest.mark.parametrize("value", ["auto", "cpu", "cpu:2", "cuda:0,cuda:1", "cuda:0, cpu:1"])
def test_devices_are_auto_or_a_list(value: str) -> None:
    assert load("--devices", value).devices == value


def test_the_log_level_may_be_in_capitals() -> None:
    assert load(environ={"ALPHADROP_LOG_LEVEL": "WARNING"}).log_level == "warning"


def test_the_address_of_the_web_server() -> None:
    assert load().http_address == ("127.0.0.1", 9464)
    assert load("--http", "[::1]:0").http_address == ("::1", 0)
    assert load("--http", "off").http_address is None


def test_the_state_folder_is_the_same_for_every_way_to_write_source_and_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_the_state_folder_is_below_the_home_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(source="in", sink="out").state_path.parent == tmp_path / ".local/state/alphadrop"
    assert Settings(source="in", sink="out", state=Path("~/q")).state_path == tmp_path / "q"


def test_a_file_address_is_a_path(tmp_path: Path) -> None:
    assert Settings(source="file:///a%20b", sink="~/x").source_path == Path("/a b")
    assert Settings(source="in", sink="out").sink_path == tmp_path / "out"


@pytest.mark.parametrize("address", ["s3://box/in", "s3://box/in/", "S3://box/in//"])
def test_a_bucket_has_one_canonical_address(address: str) -> None:
    settings = Settings(source=address, sink="out")
    assert (settings.source_uri, settings.source_path) == ("s3://box/in/", None)


@pytest.mark.parametrize(
    ("address", "uri"),
    [("s3://box", "s3://box/"), ("s3://box/", "s3://box/"), ("s3://box/a b/ü%", "s3://box/a%20b/%C3%BC%25/")],
)
def test_a_prefix_is_taken_literally(address: str, uri: str) -> None:
    assert Settings(source=address, sink="out").source_uri == uri


def test_a_password_is_in_no_message_and_no_repr(tmp_path: Path) -> None:
    secret = "s3cr3t"
    assert secret not in complaint("--queue", f"rabbit://me:{secret}@host/")
    assert secret not in complaint("--events", f"amqp//me:{secret}@host/")
    environ = {"ALPHADROP_EVENTS_TOKEN": secret, "ALPHADROP_QUEUE": f"amqp://me:{secret}@host/?queue=q"}
    assert secret not in repr(load(environ=environ))


@pytest.mark.parametrize(
    "place", ["s3://KEY:s3cr3t@b/in", "s3://KEY:s3/cr3t@b", "s3n://KEY:s3cr3t@b", "file://me:s3cr3t@h/x"]
)
def test_a_place_with_a_password_is_refused_without_repeating_it(place: str) -> None:
    with pytest.raises(ConfigurationError, match="takes no user, key or password") as caught:
        load_settings([place, "out"], environ={})
    assert "cr3t" not in str(caught.value)


def test_an_endpoint_with_a_password_is_refused_without_repeating_it() -> None:
    message = complaint("--s3-endpoint", "https://KEY:s3cr3t@minio:9000")
    assert "takes no user, key or password" in message and "s3cr3t" not in message


def test_full_listings_are_rarer_for_a_bucket_with_events() -> None:
    def seconds(source: str, *args: str) -> float:
        return load_settings([source, "out", *args], environ={}).rescan_seconds

    assert seconds("in") == seconds("s3://box") == 60
    assert seconds("s3://box", "--events", "sqs://q") == seconds("s3://box", "--events", "webhook") == 900
    assert seconds("s3://box", "--events", "sqs://q", "--rescan", "5") == 5
