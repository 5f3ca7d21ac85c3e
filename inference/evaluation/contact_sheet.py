"""Contact sheets: pictures side by side, one labelled row each. Pillow only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

from PIL import Image, ImageDraw, ImageFont, ImageOps

PAPER, INK, FAINT, HAIRLINE = "#ffffff", "#1f2328", "#6e7781", "#e4e7ea"
LIGHT_SQUARE, DARK_SQUARE = (255, 255, 255), (213, 217, 222)
SQUARE = 10
MARGIN, GAP = 24, 12
TEXT = 15
LINE = 22
LABEL_LIMIT = 280

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Row:
    """One row: a label, whose first line is the strongest, and one picture for each column."""

    label: str
    cells: Sequence[Image.Image]


def contact_sheet(
    rows: Sequence[Row], columns: Sequence[str], path: str | PathLike[str], cell: int = 320
) -> Image.Image:
    """Draw `rows` under the headings `columns`, save the sheet at `path` and return it.

    A picture is scaled to fit into `cell` x `cell` pixels; one with an alpha channel is shown on a checkerboard.
    Raises ValueError if there are no rows or a row has another number of cells than there are columns.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    for row in rows:
        if len(row.cells) != len(columns):
            raise ValueError(f"{row.label!r} has {len(row.cells)} cells for {len(columns)} columns")
    sheet = _Sheet(rows, columns, cell).draw()
    sheet.save(path)
    return sheet


def on_checkerboard(rgba: Image.Image) -> Image.Image:
    """The picture as RGB, its transparent parts showing a light checkerboard."""
    rgba = rgba.convert("RGBA")
    return Image.alpha_composite(_checkerboard(*rgba.size), rgba).convert("RGB")


def on_colour(rgba: Image.Image, colour: str) -> Image.Image:
    """The picture as RGB, over one colour."""
    return Image.alpha_composite(Image.new("RGBA", rgba.size, colour), rgba.convert("RGBA")).convert("RGB")


def _checkerboard(width: int, height: int) -> Image.Image:
    small = Image.new("RGB", (-(-width // SQUARE), -(-height // SQUARE)), LIGHT_SQUARE)
    for y in range(small.height):
        for x in range(y % 2, small.width, 2):
            small.putpixel((x, y), DARK_SQUARE)
    size = (small.width * SQUARE, small.height * SQUARE)
    return small.resize(size, Image.Resampling.NEAREST).crop((0, 0, width, height)).convert("RGBA")


def _fit(picture: Image.Image, cell: int) -> Image.Image:
    transparent = picture.has_transparency_data
    fitted = ImageOps.contain(picture.convert("RGBA" if transparent else "RGB"), (cell, cell), Image.Resampling.LANCZOS)
    return on_checkerboard(fitted) if transparent else fitted


class _Sheet:
    """The geometry of one sheet: a label column, then one column of cells for each heading."""

    def __init__(self, rows: Sequence[Row], columns: Sequence[str], cell: int) -> None:
        self.columns, self.cell = columns, cell
        self.rows = [Row(row.label, [_fit(picture, cell) for picture in row.cells]) for row in rows]
        self.font: Font = ImageFont.load_default(TEXT)
        lines = [line for row in rows for line in row.label.splitlines()]
        widest = max((self.font.getlength(line) for line in lines), default=0)
        self.label_width = min(LABEL_LIMIT, round(widest)) + 2 * GAP if lines else 0
        self.heights = [max(self._text_height(row), *(picture.height for picture in row.cells)) for row in self.rows]

    def draw(self) -> Image.Image:
        """The finished sheet."""
        left = MARGIN + self.label_width
        width = left + len(self.columns) * (self.cell + GAP) - GAP + MARGIN
        height = MARGIN + LINE + sum(h + 2 * GAP for h in self.heights) + MARGIN
        sheet = Image.new("RGB", (width, height), PAPER)
        pen = ImageDraw.Draw(sheet)
        for i, column in enumerate(self.columns):
            pen.text((left + i * (self.cell + GAP) + self.cell / 2, MARGIN), column, FAINT, self.font, anchor="ma")
        top = MARGIN + LINE
        for row, row_height in zip(self.rows, self.heights, strict=True):
            pen.line((MARGIN, top, width - MARGIN, top), HAIRLINE)
            self._label(pen, row.label, top + GAP, row_height)
            for i, picture in enumerate(row.cells):
                x = left + i * (self.cell + GAP) + (self.cell - picture.width) // 2
                sheet.paste(picture, (x, top + GAP + (row_height - picture.height) // 2))
            top += row_height + 2 * GAP
        return sheet

    def _label(self, pen: ImageDraw.ImageDraw, label: str, top: int, height: int) -> None:
        lines = label.splitlines()
        y = top + (height - len(lines) * LINE) // 2
        for i, line in enumerate(lines):
            pen.text((MARGIN, y + i * LINE), self._shortened(line), FAINT if i else INK, self.font)

    def _shortened(self, line: str) -> str:
        if self.font.getlength(line) <= LABEL_LIMIT:
            return line
        while line and self.font.getlength(line + "…") > LABEL_LIMIT:
            line = line[:-1]
        return line + "…"

    @staticmethod
    def _text_height(row: Row) -> int:
        return len(row.label.splitlines()) * LINE
