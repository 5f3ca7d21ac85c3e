"""Events as their systems send them, and everything that may come instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watcher.core.errors import NotAnEvent
from watcher.core.jobs import ImageRef
from watcher.sources.events import LIMIT, WriteEvent, encode_arrival, parse

RECORDED = Path(__file__).parents[3] / "fixtures" / "events"
BUCKET, KEY, SIZE = "shop-photos", "in/red shoe + box.jpg", 482113
ETAG = "0f343b0931126a20f133d67c2b018a3b"
KEYS = st.text(min_size=1) | st.text("a +%/|&=ü靴2BF.", min_size=1)


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))


def body(message: object) -> bytes:
    return json.dumps(message).encode()


def written(message: Any) -> Any:
    """The object of a message's first record."""
    return message["Records"][0]["s3"]["object"]


def wrapped(message: object) -> dict[str, str]:
    return {"Type": "Notification", "Message": json.dumps(message)}


def of_aws(key: str) -> object:
    message = recorded("aws")
    written(message)["key"] = quote_plus(key, safe="/")
    return message


def of_minio(key: str) -> object:
    message = recorded("minio")
    written(message)["key"] = quote_plus(key)
    return message | {"Key": f"{BUCKET}/{key}"}


def of_ceph(key: str) -> object:
    message = recorded("ceph")
    written(message)["key"] = key
    return message


def of_eventbridge(key: str) -> object:
    message = recorded("eventbridge")
    message["detail"]["object"]["key"] = key
    return message


def of_sns(key: str) -> object:
    return wrapped(of_aws(key))


@pytest.mark.parametrize(
    ("name", "events"),
    [
        (
            "aws",
            [
                WriteEvent(KEY, BUCKET, "", "in/red+shoe+%2B+box.jpg", ETAG, SIZE, sequencer="0066B1F2A01C5D3E77"),
                WriteEvent(
                    "in/hüte/100%.png",
                    BUCKET,
                    other_key="in/h%C3%BCte/100%25.png",
                    version="5d41402abc4b2a76b9719d911017c592-3",
                    size=18874368,
                    sequencer="0066B1F2A2447E01BC",
                ),
            ],
        ),
        ("sns", [WriteEvent(KEY, BUCKET, "", "in/red+shoe+%2B+box.jpg", ETAG, SIZE, sequencer="0066B1F2A01C5D3E77")]),
        (
            "eventbridge",
            [WriteEvent(KEY, BUCKET, "", "in/red shoe   box.jpg", ETAG, SIZE, sequencer="0066B1F2A01C5D3E77")],
        ),
        ("minio", [WriteEvent(KEY, BUCKET, version=ETAG, size=SIZE)]),
        ("ceph", [WriteEvent(KEY, BUCKET, "", "in/red shoe   box.jpg", ETAG, SIZE)]),
        ("ceph_begun", [WriteEvent("in/large.png", BUCKET, size=0)]),
        ("alphadrop", [WriteEvent(KEY[3:], "", "s3://shop-photos/in/", "", ETAG, SIZE, 1722937296.113)]),
    ],
)
def test_the_format_of_each_system_is_parsed(name: str, events: list[WriteEvent]) -> None:
    assert parse((RECORDED / f"{name}.json").read_bytes()) == events


@pytest.mark.parametrize("name", ["aws_removed", "aws_test", "eventbridge_deleted"])
def test_other_events_announce_nothing(name: str) -> None:
    message = recorded(name)
    assert parse(body(message)) == parse(body(wrapped(message))) == []


@pytest.mark.parametrize(
    "name", ["ObjectRemoved:Delete", "s3:ObjectRemoved:Delete", "LifecycleExpiration:Delete", "ObjectTagging:Put",
             "ObjectRestore:Completed", "ObjectSynced:Delete", "NotObjectCreated:Put", ""],
)  # fmt: skip
def test_only_writes_are_announced(name: str) -> None:
    message = recorded("aws")
    message["Records"][0]["eventName"] = name
    assert [event.key for event in parse(body(message))] == ["in/hüte/100%.png"]


@pytest.mark.parametrize("name", ["ObjectCreated:Copy", "s3:ObjectCreated:Post", "s3:ObjectSynced:Create"])
def test_every_kind_of_write_is_announced(name: str) -> None:
    message = recorded("ceph")
    message["Records"][0]["eventName"] = name
    assert [event.key for event in parse(body(message))] == [KEY]


@given(KEYS)
@example("a+b c%20d%2Fe|f.jpg")
@example("100%.jpg")
@pytest.mark.parametrize("message_of", [of_aws, of_minio, of_ceph, of_eventbridge, of_sns])
def test_every_key_is_decoded_exactly(message_of: Callable[[str], object], key: str) -> None:
    assert parse(body(message_of(key)))[0].key == key


@given(KEYS)
def test_a_key_of_an_unknown_system_has_two_readings(key: str) -> None:
    message: Any = of_aws(key)
    message["Records"][0]["eventSource"] = "elsewhere:s3"
    written(message)["key"] = key
    event = parse(body(message))[0]
    assert key in (event.key, event.other_key)
    assert event.other_key != event.key


@pytest.mark.parametrize("key", ["a.jpg", "hüte/靴.jpg", "100%.jpg", "%zz.jpg"])
@pytest.mark.parametrize("message_of", [of_ceph, of_eventbridge])
def test_a_key_that_is_the_same_in_both_readings_has_one(message_of: Callable[[str], object], key: str) -> None:
    assert parse(body(message_of(key)))[0].other_key == ""


def test_a_key_that_is_not_encoded_utf8_is_used_as_it_is() -> None:
    message = recorded("aws")
    written(message)["key"] = "caf%E9.jpg"
    event = parse(body(message))[0]
    assert (event.key, event.other_key) == ("caf%E9.jpg", "")


@pytest.mark.parametrize("path", [None, 7, "", "shop-photos/in%2Fred+shoe+%2B+box.jpg", "other/in/red shoe + box.jpg"])
def test_minios_key_is_certain_only_if_its_path_agrees(path: object) -> None:
    event = parse(body(recorded("minio") | {"Key": path}))[0]
    assert (event.key, event.other_key) == (KEY, "in%2Fred+shoe+%2B+box.jpg")


@pytest.mark.parametrize(
    ("size", "understood"),
    [(0, 0), (7, 7), ("7", 7), ("007", 7), (10**18 - 1, 10**18 - 1), (10**18, -1), ([], -1), (-1, -1), ("-1", -1),
     ("9" * 5000, -1), ("", -1), (" 7", -1), ("\N{ARABIC-INDIC DIGIT SEVEN}", -1), (7.0, -1), (True, -1), (None, -1)],
)  # fmt: skip
def test_a_size_is_a_number_or_the_text_of_one(size: object, understood: int) -> None:
    message = recorded("ceph")
    written(message)["size"] = size
    assert parse(body(message))[0].size == understood


@pytest.mark.parametrize(("etag", "version"), [('"abc-2"', "abc-2"), ("", ""), (None, ""), (5, "")])
def test_a_version_is_the_etag_without_quotes(etag: object, version: str) -> None:
    message = recorded("aws")
    written(message)["eTag"] = etag
    assert parse(body(message))[0].version == version


@pytest.mark.parametrize("odd", ["\ud800", "x\ny", "a b", "ä", "\0", "x\r\nhost: there", "x" * 129])
@pytest.mark.parametrize("name", ["aws", "eventbridge", "alphadrop"])
def test_a_version_that_no_request_can_carry_is_unknown(name: str, odd: str) -> None:
    message = recorded(name)
    for container, place in places(message):
        if place in ("eTag", "etag", "version"):
            container[place] = odd
    assert {event.version for event in parse(body(message))} == {""}


@pytest.mark.parametrize("sequencer", [None, 5, "", "later", "0x1", "12 "])
def test_a_sequencer_that_does_not_order_is_left_out(sequencer: object) -> None:
    message = recorded("aws")
    written(message)["sequencer"] = sequencer
    assert parse(body(message))[0].sequencer == ""


KEYS_OF_FILES = st.text(min_size=1) | st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), min_size=1)
VERSIONS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"'), max_size=128)
TIMES = st.floats(-1e12, 1e12) | st.integers(-(10**12), 10**12)


@given(st.text(min_size=1), KEYS_OF_FILES, VERSIONS, st.integers(-1, 10**18 - 1), TIMES)
def test_our_own_messages_are_read_back_exactly(
    source: str, key: str, version: str, size: int, modified: float
) -> None:
    message = encode_arrival(source, ImageRef(key, version, size, modified))
    assert message.isascii()
    assert parse(message) == [WriteEvent(key, source=source, version=version, size=size, modified=modified)]


def test_our_own_messages_stay_readable() -> None:
    """They wait in people's brokers while alphadrop is brought up to date."""
    ref = ImageRef(KEY[3:], ETAG, SIZE, 1722937296.113)
    assert json.loads(encode_arrival("s3://shop-photos/in/", ref)) == recorded("alphadrop")


def test_another_programs_message_in_our_format_may_leave_fields_out() -> None:
    assert parse(b'{"alphadrop": 1, "source": "s", "key": "k", "size": {}, "version": [], "modified": 1e999}') == [
        WriteEvent("k", source="s")
    ]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"alphadrop": 2, "source": "s", "key": "k"}, "a later version of alphadrop"),
        ({"alphadrop": None}, "a later version of alphadrop"),
        ({"alphadrop": 1, "key": "k"}, "which source and key"),
        ({"alphadrop": 1, "source": "s", "key": ""}, "which source and key"),
        ({"alphadrop": 1, "source": ["s"], "key": "k"}, "which source and key"),
        ({}, "none of the shapes"),
        ({"Records": None}, "none of the shapes"),
        ({"Records": {}}, "none of the shapes"),
        ({"Records": [None]}, "records has no"),
        ({"Records": [{}]}, "records has no"),
        ({"Records": [{"eventName": "ObjectCreated:Put"}]}, "records has no"),
        ({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}, "object": []}}]}, "has no"),
        (of_ceph(""), "empty or not text"),
        (of_ceph("\ud800"), "empty or not text"),
        ({"Records": [*recorded("aws")["Records"], 7]}, "records has no"),
        ({"Type": "Notification", "Message": "hello"}, "not JSON"),
        ({"Type": "Notification", "Message": "[]"}, "not a JSON object"),
        ({"Type": "Notification", "Message": {}}, "none of the shapes"),
        ({"Type": "Notification"}, "none of the shapes"),
        ({"detail-type": "Object Created"}, "no bucket"),
        ({"detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": {"key": 5}}}, "no bucket"),
        ({"detail-type": "Object Created", "detail": []}, "no bucket"),
        (recorded("sns_subscription"), "SubscribeURL"),
        ({"Event": "s3:Other"}, "none of the shapes"),
    ],
)
def test_the_error_says_why_a_message_is_no_event(message: object, why: str) -> None:
    with pytest.raises(NotAnEvent, match=why):
        parse(body(message))


@pytest.mark.parametrize("junk", [b"", b"hello", b"\xff\xfe\xfd", b'{"a":', b"[" * 100_000, b'{"a":' * 100_000,
                                  b'{"size": ' + b"9" * 5000 + b"}"])  # fmt: skip
def test_a_message_that_is_not_json_is_no_event(junk: bytes) -> None:
    with pytest.raises(NotAnEvent, match="not JSON"):
        parse(junk)


def test_a_long_message_is_no_event() -> None:
    longest = body(recorded("ceph")).ljust(LIMIT)
    assert parse(longest)
    with pytest.raises(NotAnEvent, match="longer than 1048576 bytes"):
        parse(longest + b" ")


def test_nested_messages_end() -> None:
    message = b'{"Records":[]}'
    while len(message) <= LIMIT:
        assert parse(message) == []
        message = body(wrapped(json.loads(message)))


@given(st.binary())
def test_any_bytes_are_an_event_or_none(junk: bytes) -> None:
    with pytest.raises(NotAnEvent):
        parse(junk)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["", "s3:TestEvent"])
NAMES = st.text() | st.sampled_from(["alphadrop", "Records", "Type", "Message", "detail-type", "detail", "key", "Key"])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=20)


def understood(message: object) -> bool:
    """Whether a message is read, or refused as it should be."""
    try:
        return all(isinstance(event, WriteEvent) for event in parse(body(message)))
    except NotAnEvent as error:
        return bool(str(error))


@given(JSON)
def test_any_json_is_an_event_or_none(message: object) -> None:
    assert understood(message)


def places(message: Any) -> list[tuple[Any, Any]]:
    """Every container in a message with each of its keys."""
    here = list(message.items() if isinstance(message, dict) else enumerate(message))
    below = (places(value) for _, value in here if isinstance(value, dict | list))
    return [(message, name) for name, _ in here] + [place for inner in below for place in inner]


@given(st.sampled_from(sorted(path.stem for path in RECORDED.glob("*.json"))), st.data(), JSON)
def test_junk_in_any_place_of_an_event_raises_nothing_else(name: str, data: st.DataObject, junk: object) -> None:
    message = recorded(name)
    container, place = data.draw(st.sampled_from(places(message)))
    container[place] = junk
    assert understood(message)
