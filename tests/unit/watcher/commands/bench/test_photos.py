"""Drawn photos and folders of them."""

from pathlib import Path

import pytest

from inference.codec import decode
from watcher.commands.bench.photos import draw_photo, fill_folder

SIZE = (96, 64)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(draw_photo(tmp_path, SIZE, seed=1))


def test_a_photo_of_a_seed_is_always_the_same_and_of_its_size(tmp_path: Path):
    first, second = draw_photo(tmp_path / "a", SIZE, 7), draw_photo(tmp_path / "b", SIZE, 7)
    assert first.read_bytes() == second.read_bytes()
    assert decode(first.read_bytes()).pixels.shape == (64, 96, 3)


def test_few_photos_become_many_files(tmp_path: Path, file: str):
    fill_folder([Path(file)], tmp_path / "many", 5)
    assert [path.read_bytes() for path in (tmp_path / "many").iterdir()] == [Path(file).read_bytes()] * 5
