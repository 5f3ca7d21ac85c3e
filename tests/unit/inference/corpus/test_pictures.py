"""The corpus: what of the gathered pictures a training reads, and what it never reads."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.corpus import gathering, pictures
from inference.corpus.gathering import (
    SplitError,
    digest_of,
    flat,
    gather_examples,
    gather_photographs,
    gather_stamps,
    listed,
    looked_at,
)
from inference.corpus.layout import Layout
from inference.corpus.pictures import load_corpus, read_object, spread_colour
from inference.corpus.teacher import SIDE, finds_nothing, is_sure, write_mattes
from tests.unit.inference.corpus.test_archives import deb, rcc


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def disc(size: int = 160, radius: float = 50, centre: tuple[float, float] = (80, 80)) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return np.asarray(np.clip(radius - np.hypot(x - centre[0], y - centre[1]) + 0.5, 0, 1) * 255, np.uint8)


def red_disc() -> np.ndarray:
    """RGBA; what is transparent is green, as if cut out of a lawn."""
    alpha = disc()
    rgb = np.where((alpha > 127)[..., None], (200, 30, 30), (0, 255, 0)).astype(np.uint8)
    return np.dstack((rgb, alpha))


def test_no_picture_is_in_both_lists() -> None:
    training, real = listed("training-stamps"), listed("real-split")
    assert (len(training), len(real)) == (124, 65)
    assert not training.keys() & real.keys()
    assert not set(training.values()) & set(real.values())


def test_an_object_of_the_real_split_is_never_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, content = Layout(tmp_path), png(red_disc())
    layout.objects.mkdir()
    (layout.objects / "renamed.png").write_bytes(content)
    assert len(load_corpus(layout).objects) == 1
    monkeypatch.setattr(pictures, "listed", lambda name: {"birds/peacock.png": digest_of(content)})
    with pytest.raises(SplitError, match="never trained on"):
        load_corpus(layout)


def test_the_splits_own_folders_are_not_read(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for folder in (layout.real_objects, layout.real_backgrounds):
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(png(red_disc()))
    corpus = load_corpus(layout)
    assert not any(vars(corpus).values())


def test_stamps_go_where_their_list_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, real = png(red_disc()), png(red_disc()[:100])
    lists = {"training-stamps": {"a/b.png": digest_of(training)}, "real-split": {"c.png": digest_of(real)}}
    monkeypatch.setattr(gathering, "listed", lists.__getitem__)
    names = {"a/b.png": training, "c.png": real, "d.png": b"a drawing"}
    package = deb(tmp_path / "stamps.deb", {gathering.STAMPS + name: content for name, content in names.items()})
    layout = Layout(tmp_path / "data")
    assert gather_stamps(package, layout) == 2
    assert [path.name for path in layout.objects.iterdir()] == ["a+b.png"]
    assert [path.name for path in layout.real_objects.iterdir()] == ["c.png"]

    lists["real-split"]["c.png"] = "0" * 16
    with pytest.raises(SplitError, match="not the picture that was listed"):
        gather_stamps(package, layout)
    lists["real-split"]["c.png"] = digest_of(training)
    with pytest.raises(SplitError, match="in both lists"):
        gather_stamps(package, layout)


def test_nothing_of_the_old_background_is_left_around_an_object(tmp_path: Path) -> None:
    (tmp_path / "disc.png").write_bytes(png(red_disc()))
    cutout = read_object(tmp_path / "disc.png")
    assert cutout.stands and not cutout.cut_below
    assert cutout.rgb[..., 1].max() < 60  # the lawn is gone
    assert abs(int(cutout.rgb[0, 0, 0]) - 200) < 20  # and the object's red goes on in its place


def test_a_picture_without_an_opaque_pixel_keeps_its_colours() -> None:
    rgb, alpha = np.full((8, 8, 3), 9, np.uint8), np.full((8, 8), 100, np.uint8)
    assert (spread_colour(rgb, alpha) == rgb).all()


def test_the_teacher_is_believed_where_it_is_sure() -> None:
    sure = np.array(Image.fromarray(disc()).resize((SIDE, SIDE)))
    assert is_sure(sure) and not finds_nothing(sure)
    assert not is_sure(np.full((SIDE, SIDE), 120, np.uint8))  # undecided everywhere
    assert not is_sure(np.full((SIDE, SIDE), 255, np.uint8))  # all of the picture
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    assert not is_sure(nothing) and finds_nothing(nothing)


def test_photographs_become_what_their_mattes_say(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.photographs.mkdir()
    layout.mattes.mkdir()
    mattes = {
        "thing": disc(SIDE, 90, (160, 160)),
        "view": np.zeros((SIDE, SIDE), np.uint8),
        "fog": np.full((SIDE, SIDE), 99),
    }
    for name, matte in mattes.items():
        (layout.photographs / f"{name}.png").write_bytes(
            png(np.dstack((red_disc()[..., :3],) * 1).repeat(3, 0).repeat(3, 1))
        )
        (layout.mattes / f"{name}.png").write_bytes(png(matte.astype(np.uint8)))
    (layout.photographs / "not-asked-yet.png").write_bytes(png(red_disc()[..., :3]))
    corpus = load_corpus(layout)
    assert (len(corpus.photographs), len(corpus.taught), len(corpus.backgrounds)) == (1, 1, 1)
    assert corpus.photographs[0].alpha.shape == corpus.photographs[0].rgb.shape[:2]


def test_the_teacher_is_asked_once_about_each_photograph(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.photographs.mkdir()
    for name in "ab":
        (layout.photographs / f"{name}.png").write_bytes(png(red_disc()[..., :3]))
    lines: list[str] = []
    assert write_mattes(layout.photographs, layout.mattes, Believer, lines.append) == 2
    assert lines == ["mattes: 2 of 2"]
    assert np.array(Image.open(layout.mattes / "a.png")).shape == (SIDE, SIDE)
    (layout.mattes / "b.png").unlink()
    assert write_mattes(layout.photographs, layout.mattes, Believer, lines.append) == 1
    assert write_mattes(layout.photographs, layout.mattes, _never, lines.append) == 0


class Believer:
    """A teacher that finds the same disc everywhere."""

    def matte(self, photograph: Image.Image) -> np.ndarray:
        return disc(SIDE, 90, (160, 160))


def _never():
    raise AssertionError("nobody is to be asked")


def test_photographs_that_people_look_at_are_kept_out_of_the_training(tmp_path: Path) -> None:
    layout, photo = Layout(tmp_path / "data"), webp(320)
    example = dict(looked_at())["opencv-doc"]
    examples = deb(tmp_path / "a.deb", {gathering.EXAMPLES + example: photo, gathering.EXAMPLES + "b.jpg": photo})
    resources = rcc({"chair.webp": photo, "table.webp": photo, "icon.webp": webp(64)})
    photographs = deb(tmp_path / "b.deb", {f"{gathering.RESOURCES}categorization.rcc": resources})
    assert (gather_examples(examples, layout), gather_photographs(photographs, layout)) == (1, 2)
    assert {path.name for path in layout.looked_at.iterdir()} == {flat(example), "categorization+chair.webp"}
    assert {path.name for path in layout.photographs.iterdir()} == {"categorization+table.webp"}
    nothing = np.zeros((SIDE, SIDE), np.uint8)
    layout.mattes.mkdir()
    for name in ("table", "chair"):
        Image.fromarray(nothing).save(layout.mattes / f"categorization+{name}.png")
    assert len(load_corpus(layout).backgrounds) == 1


def webp(side: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(content, "WEBP")
    return content.getvalue()
