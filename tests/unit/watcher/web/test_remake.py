"""Which pictures are made again, by what, and how many wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.equipment.support import wait_until
from watcher.config.settings import Settings
from watcher.web import redo as module
from watcher.web.child import ChildFailed
from watcher.web.errors import ApiError
from watcher.web.history import Record, Status
from watcher.web.redo import Remake

TOKEN = "a-token-that-nobody-else-may-see"


class FakeChild:
    """Answers when it may, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.may_answer = threading.Event()
        self.fails = False

    def ask(self, header: Mapping[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
        self.asked.append(header)
        self.may_answer.wait()
        if self.fails:
            raise ChildFailed("the process died")
        return {"outputs": [], "model": "m", "score": None, "doubts": []}, b""

    def close(self) -> None:
        self.may_answer.set()


def record(number: int) -> Record:
    return Record(str(number), f"{number}.jpg", None, "job", Status.DONE, "", "", (), 0.5, (), "m", None, 0.0, 1.0)


@pytest.fixture
def answers() -> list[tuple[str, Mapping[str, Any]]]:
    return []


@pytest.fixture
def child() -> FakeChild:
    return FakeChild()


@pytest.fixture
def remake(
    tmp_path: Path,
    child: FakeChild,
    answers: list[tuple[str, Mapping[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Remake]:
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    settings = Settings(
        source=str(tmp_path / "in"), sink=str(tmp_path / "out"), model="fake", canvas=128, api_token=(TOKEN,), page=True
    )
    remake = Remake(settings, lambda record, answer: answers.append((record.id, answer)))
    remake._child.close()
    monkeypatch.setattr(remake, "_child", child)
    with closing(remake):
        yield remake


def refusal(remake: Remake, number: int, model: str, preset: str = "") -> str:
    with pytest.raises(ApiError) as caught:
        remake.start(record(number), model, preset)
    return caught.value.code


def test_only_models_that_are_here_can_be_asked_for(remake: Remake, tmp_path: Path) -> None:
    assert "fake" in remake.models() and "u2net" not in remake.models()
    (tmp_path / "u2net.onnx").write_bytes(b"a model")
    assert "u2net" in remake.models()
    for model in ("u2netp", str(tmp_path / "u2net.onnx"), "../u2net.onnx", "fake:fail_at=1"):
        assert refusal(remake, 1, model) == "unknown_model"
    assert refusal(remake, 1, "", "../shopify") == "unknown_preset"
    assert refusal(remake, 1, "") == "nothing_to_redo"


def test_without_torch_nothing_can_be_made_again(remake: Remake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remake, "_has_torch", False)
    assert remake.models() == remake.presets() == []
    assert refusal(remake, 1, "fake") == "no_engine"


def test_another_model_gets_the_daemons_settings_without_its_secrets(
    remake: Remake, child: FakeChild, answers: list[tuple[str, Mapping[str, Any]]]
) -> None:
    remake.start(record(1), "nano", "shopify")
    child.may_answer.set()
    wait_until(lambda: answers)
    [asked] = child.asked
    settings = Settings.model_validate(asked["settings"])
    assert (settings.model, settings.canvas, settings.preset) == ("nano", None, ("shopify",))
    assert asked["by_another_model"] and TOKEN not in repr(asked)


def test_one_is_made_after_the_other_and_each_is_asked_for_once(
    remake: Remake, child: FakeChild, answers: list[tuple[str, Mapping[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    remake.start(record(1), "fake", "")
    remake.start(record(2), "", "shopify")
    assert refusal(remake, 2, "fake") == "too_many_redos"
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    assert refusal(remake, 2, "fake") == "in_progress"
    assert remake.is_waiting("1") and remake.is_waiting("2") and not remake.is_waiting("3")
    child.may_answer.set()
    wait_until(lambda: len(answers) == 2)
    assert [id for id, _ in answers] == ["1", "2"] and not remake.is_waiting("2")


def test_a_process_that_dies_is_a_problem_of_that_picture(
    remake: Remake, child: FakeChild, answers: list[tuple[str, Mapping[str, Any]]]
) -> None:
    child.fails = True
    child.may_answer.set()
    remake.start(record(1), "fake", "")
    wait_until(lambda: answers)
    assert "the process died" in answers[0][1]["problem"]
