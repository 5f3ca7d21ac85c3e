"""Contact sheets."""

from pathlib import Path

import pytest
from PIL import Image

from inference.evaluation.contact_sheet import (
    DARK_SQUARE,
    LIGHT_SQUARE,
    SQUARE,
    Row,
    contact_sheet,
    on_checkerboard,
    on_colour,
)

RED, GREEN = (255, 0, 0), (0, 128, 0)


def test_transparent_parts_show_the_checkerboard_and_opaque_ones_the_picture() -> None:
    picture = Image.new("RGBA", (3 * SQUARE, 2 * SQUARE), (0, 0, 0, 0))
    picture.paste((*RED, 255), (2 * SQUARE, 0, 3 * SQUARE, SQUARE))

    shown = on_checkerboard(picture)

    assert shown.mode == "RGB"
    assert shown.size == picture.size
    squares = [[shown.getpixel((x * SQUARE + 5, y * SQUARE + 5)) for x in range(3)] for y in range(2)]
    assert squares == [[DARK_SQUARE, LIGHT_SQUARE, RED], [LIGHT_SQUARE, DARK_SQUARE, LIGHT_SQUARE]]


def test_half_transparent_parts_are_mixed_with_straight_alpha() -> None:
    shown = on_checkerboard(Image.new("RGBA", (SQUARE, SQUARE), (*RED, 128)))

    assert shown.getpixel((0, 0)) == pytest.approx((234, 108, 111), abs=1)


def test_half_transparent_parts_let_a_colour_through() -> None:
    shown = on_colour(Image.new("RGBA", (2, 2), (*RED, 128)), "black")

    assert shown.mode == "RGB" and shown.getpixel((0, 0)) == pytest.approx((128, 0, 0), abs=1)


@pytest.mark.parametrize("size", [(1, 1), (SQUARE + 1, 2), (7, 3 * SQUARE - 1)])
def test_a_checkerboard_has_any_size(size: tuple[int, int]) -> None:
    assert on_checkerboard(Image.new("RGBA", size)).size == size


def test_the_sheet_is_saved_and_holds_every_cell(tmp_path: Path) -> None:
    rows = [Row("first", [Image.new("RGB", (90, 90), RED), Image.new("L", (90, 90), 77)])]

    sheet = contact_sheet(rows, ["before", "matte"], tmp_path / "sheet.png", cell=64)

    with Image.open(tmp_path / "sheet.png") as saved:
        assert saved.tobytes() == sheet.tobytes()
    assert area(sheet, RED) == area(sheet, (77, 77, 77)) == 64 * 64


def test_a_picture_keeps_its_proportions(tmp_path: Path) -> None:
    wide = contact_sheet([Row("wide", [Image.new("RGB", (400, 100), RED)])], ["a"], tmp_path / "a.png", cell=80)
    tall = contact_sheet([Row("tall", [Image.new("RGB", (100, 400), RED)])], ["a"], tmp_path / "b.png", cell=80)

    assert area(wide, RED) == area(tall, RED) == 80 * 20
    assert wide.height < tall.height


def test_a_cell_with_alpha_is_shown_on_squares_of_the_usual_size(tmp_path: Path) -> None:
    sheet = contact_sheet([Row("", [Image.new("RGBA", (1000, 1000))])], [""], tmp_path / "a.png", cell=4 * SQUARE)

    assert area(sheet, DARK_SQUARE) == 8 * SQUARE * SQUARE


def test_a_long_label_does_not_run_into_the_cells(tmp_path: Path) -> None:
    cells = [Image.new("RGB", (50, 50), GREEN)]

    sheet = contact_sheet([Row("a name without end " * 20, cells)], ["a"], tmp_path / "a.png", cell=100)

    assert area(sheet, GREEN) == 100 * 100
    assert sheet.width < 500


def test_a_label_of_many_lines_makes_room_for_itself(tmp_path: Path) -> None:
    cells = [Image.new("RGB", (100, 10), GREEN)]

    one = contact_sheet([Row("1", cells)], ["a"], tmp_path / "a.png", cell=100)
    many = contact_sheet([Row("1\n2\n3\n4\n5", cells)], ["a"], tmp_path / "a.png", cell=100)

    assert many.height > one.height


def test_a_row_must_fill_its_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'cup' has 1 cells for 2 columns"):
        contact_sheet([Row("cup", [Image.new("L", (1, 1))])], ["before", "after"], tmp_path / "a.png")


def test_a_sheet_needs_a_row(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([], ["before"], tmp_path / "a.png")


def area(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    """How many pixels have this very colour."""
    return sum(count for count, value in sheet.getcolors(sheet.width * sheet.height) or [] if value == colour)
