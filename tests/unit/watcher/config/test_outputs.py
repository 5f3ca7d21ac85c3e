"""The outputs that settings ask for: tables, their short form, presets, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.compose import PRESETS, OutputSpec
from watcher.config.load import load_settings
from watcher.config.outputs import OutputSettings
from watcher.core.errors import ConfigurationError


def outputs_of(*words: str, environ: dict[str, str] | None = None) -> list[OutputSettings]:
    return list(load_settings(["in", "out", *words], environ=environ or {}).outputs)


def complaint(*words: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        outputs_of(*words)
    return str(caught.value)


def spec(**fields: object) -> OutputSpec:
    return OutputSpec.model_validate(fields)


def test_the_cut_out_is_all_that_is_made_where_nothing_is_asked_for() -> None:
    assert outputs_of() == [OutputSettings()]
    assert outputs_of("--output-name", "{name}.png") == [OutputSettings(pattern="{name}.png")]


@pytest.mark.parametrize(
    ("text", "name", "pattern", "wanted"),
    [
        ("webp", "webp", "webp/{dir}{stem}.webp", spec(format="webp")),
        ("jpg,background=white", "jpeg", "jpeg/{dir}{stem}.jpg", spec(format="jpeg", background="white")),
        ("webp,trim,margin=5%", "webp", "webp/{dir}{stem}.webp", spec(format="webp", trim=True, margin="5%")),
        ("format=tiff, depth=16", "tiff", "tiff/{dir}{stem}.tif", spec(format="tiff", depth=16)),
        ("trim,name=small,max_side=800", "small", "small/{dir}{stem}.png", spec(trim=True, max_side=800)),
        ("avif,key={dir}{stem}-{output}.{format}", "avif", "{dir}{stem}-avif.avif", spec(format="avif")),
        ("jpeg,background=#fff,key={name}.jpeg", "jpeg", "{name}.jpeg", spec(format="jpeg", background="#fff")),
        ("cutout", "cutout", "{dir}{stem}.png", OutputSpec()),
        ("png", "cutout", "{dir}{stem}.png", OutputSpec()),
        ("cutout,name=raw", "raw", "raw/{dir}{stem}.png", OutputSpec()),
    ],
)
def test_the_short_form_of_an_output(text: str, name: str, pattern: str, wanted: OutputSpec) -> None:
    assert outputs_of("--output", text) == [OutputSettings(name=name, pattern=pattern, spec=wanted)]


def test_every_preset_is_an_output_in_a_folder_of_its_own() -> None:
    made = outputs_of("--preset", ",".join(PRESETS))
    assert [(output.name, output.spec) for output in made] == [(name, entry.spec) for name, entry in PRESETS.items()]
    assert all(output.pattern.startswith(f"{output.name}/{{dir}}{{stem}}.") for output in made)


def test_a_field_overrides_the_presets() -> None:
    (made,) = outputs_of("--output", "amazon-main,shadow=0.25,margin=0")
    assert made.spec.shadow == 0.25
    assert made.spec.canvas == PRESETS["amazon-main"].spec.canvas


def test_flags_variables_and_tables_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "alphadrop.toml"
    file.write_text(
        'preset = ["cutout"]\n[[output]]\nformat = "webp"\nquality = 80\n[[output]]\nname = "shop"\nformat = "jpeg"\n'
        'background = "white"\n'
    )
    by_flags = outputs_of(
        "--preset", "cutout", "--output", "webp,quality=80", "--output", "jpeg,name=shop,background=white"
    )
    variables = {"ALPHADROP_PRESET": "cutout", "ALPHADROP_OUTPUT": "webp,quality=80; jpeg,name=shop,background=white"}
    assert by_flags == outputs_of(environ=variables) == outputs_of("--config", str(file))
    assert [output.name for output in by_flags] == ["cutout", "webp", "shop"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["--preset", "amazn-main"],
            "--preset: takes the name of a preset, not 'amazn-main'; the nearest one is amazon-main.",
        ),
        (["--output", "jpeg"], "--output 1: JPEG has no transparency: set background to a colour"),
        (
            ["--output", "webp,colour=red"],
            "--output 1: colour is not a field of an output; there are name, key, preset, ",
        ),
        (["--output", "webp,qualty=5"], "--output 1: qualty is not a field of an output; the nearest one is quality"),
        (
            ["--output", "white"],
            "--output 1 (\"white\"): preset: takes the name of a preset, not 'white'; there are cutout, amazon-main, ",
        ),
        (["--output", "webp", "--output", "avif,quality=101,name=web"], '--output 2 ("web"): quality: must be '),
        (["--output", "webp,quality=high"], "--output 1: quality: must be "),
        (["--output", "preset=shopfy"], "--output 1 (\"shopfy\"): preset: takes the name of a preset, not 'shopfy'"),
        (["--output", "webp,name=Web Shop"], '--output 1 ("Web Shop"): name: takes up to 40 small letters'),
        (["--output", "webp,key={dir}x.webp"], "--output 1: key: must contain {stem} or {name}"),
        (["--output", "webp,key={stem}.png"], "--output 1: key: must end in .webp, as the output's format is WEBP"),
        (
            ["--output", "webp,key={size}/{stem}.webp"],
            "--output 1: key: takes {dir}, {stem}, {ext}, {name}, {output} and {format}",
        ),
        (["--output", "webp,key=../{stem}.webp"], "--output 1: key: must stay inside the sink"),
        (["--output", "webp,canvas=big"], "--output 1: canvas: 'big' is no canvas; write"),
        (["--output", "webp", "--output", "webp,quality=50"], 'output 1 ("webp") and output 2 ("webp") have one name'),
        (
            ["--preset", "cutout", "--output", "png,trim,key={dir}{stem}.png"],
            'output 1 ("cutout") and output 2 ("png") have one key, {dir}{stem}.png: give one of them another `key`',
        ),
        (
            ["--output", "png,trim,key={dir}{name}.png", "--output", "png,name=b,key={dir}{stem}.jpg.png"],
            'output 1 ("png") and output 2 ("b") have one key',
        ),
    ],
)
def test_a_complaint_names_the_output_and_the_field_and_says_what_to_do(words: list[str], said: str) -> None:
    assert complaint(*words).startswith(said)


def test_a_complaint_about_a_table_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text('[[output]]\nformat = "webp"\n[[output]]\nname = "shop"\nformat = "jpeg"\nquality = "best"\n')
    assert complaint("--config", str(file)).startswith(f'{file}: output 2 ("shop"): quality: must be ')
    file.write_text('[output]\nformat = "webp"\n')
    assert "must be a table with two brackets, [[output]]" in complaint("--config", str(file))
    file.write_text("output = [1]\n")
    assert "output 1: must be a table or a text such as shopify,format=webp, not 1" in complaint("--config", str(file))
