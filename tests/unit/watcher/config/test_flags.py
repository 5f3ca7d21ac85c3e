"""Settings as flags: groups, help, and errors of the command line."""

import argparse
from pathlib import Path

import pytest

from tests.equipment.settings import FOLDERS, load
from watcher.config.flags import PUBLIC, add_settings_arguments, group_of
from watcher.config.load import load_settings
from watcher.config.parser import Parser
from watcher.config.settings import Group, Settings


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
    ],
)
def test_an_unknown_flag_is_refused_with_the_nearest_one_and_a_pointer_to_the_help(
    capsys: pytest.CaptureFixture[str], word: str, nearest: str
) -> None:
    said = refusal(capsys, word, "3")
    flag = word.partition("=")[0]
    assert said.startswith("alphadrop once: error: ")
    assert f"{flag} is not a flag of `alphadrop once`; the nearest one is {nearest}" in said
    assert said.endswith(". See `alphadrop once --help`.\n") and said.count("\n") == 1


@pytest.mark.parametrize("word", ["-x", "--quick", "--zzz=1"])
def test_an_unknown_flag_that_is_like_no_other_is_refused_without_a_hint(
    capsys: pytest.CaptureFixture[str], word: str
) -> None:
    flag = word.partition("=")[0]
    assert refusal(capsys, word) == (
        f"alphadrop once: error: {flag} is not a flag of `alphadrop once`. See `alphadrop once --help`.\n"
    )


def test_an_unexpected_argument_and_a_flag_without_its_value_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    for word, said in (("more", "unexpected argument 'more'"), ("--batch", "argument --batch: expected one argument")):
        assert refusal(capsys, word) == f"alphadrop once: error: {said}. See `alphadrop once --help`.\n"


def test_the_help_has_every_setting_its_default_and_the_other_ways_to_set_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        load("--help")
    text = " ".join(capsys.readouterr().out.split())
    for name in PUBLIC.keys() - {"source", "sink"}:
        assert "--" + name.replace("_", "-") in text
    for words in ("--drain SECONDS", "(default: 25)", "--watch auto|events|polling", "ALPHADROP_MAX_WAIT_MS", *Group):
        assert words in text


def test_every_setting_has_one_group_and_a_description() -> None:
    for name, info in Settings.model_fields.items():
        assert info.description, name
        groups = [mark for mark in info.metadata if isinstance(mark, Group)]
        assert len(groups) == (0 if name == "test_hook" else 1), name
        assert group_of(info) == next(iter(groups), None)


def test_a_command_can_take_some_of_the_settings_only() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command")
    add_settings_arguments(commands.add_parser("run"))
    add_settings_arguments(commands.add_parser("status"), "source", "sink", "state", "output_name")
    settings = load_settings(parser.parse_args(["status", *FOLDERS, "--state", "q"]), environ={"ALPHADROP_BATCH": "5"})
    assert (settings.state, settings.batch) == (Path("q"), 5)
    assert load_settings(parser.parse_args(["run", *FOLDERS, "--batch", "3"]), environ={}).batch == 3
    with pytest.raises(SystemExit):
        parser.parse_args(["status", *FOLDERS, "--batch", "3"])


def test_a_command_can_take_a_group_of_settings() -> None:
    parser = argparse.ArgumentParser()
    add_settings_arguments(parser, "Source and sink", "devices")
    assert parser.parse_args(["--devices", "cpu", "--state", "q"]).devices == "cpu"
    with pytest.raises(SystemExit):
        parser.parse_args(["--model", "nano"])


@pytest.mark.parametrize(
    "words",
    [["--quue=amqp://me:s3cr3t@h/?queue=q"], ["--events_token", "s3cr3t"], ["--event-token=s3cr3t"], ["--q", "a"]],
)
def test_an_invalid_command_line_is_quoted_without_passwords(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="alphadrop")
    add_settings_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["in", "out", "more", *words])
    said = capsys.readouterr().err
    assert words[0].partition("=")[0] in said or "more" in said
    assert "s3cr3t" not in said
