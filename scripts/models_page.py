"""Writes the table of known models in docs/models.md from their registry: `make reference`."""

from __future__ import annotations

from pathlib import Path

from inference.models.thirdparty.known import KNOWN, KnownModel

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- known models: `make reference` writes this table -->\n", "<!-- end of the table -->\n"


def render(page: str) -> str:
    """The page with a current table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def table() -> str:
    """Every known model: its size, what it is good at, its contract and its licence."""
    head = ["| `--model` | size | good at | contract | licence |", "|---|---|---|---|---|"]
    return "\n".join(head + [row(model) for model in KNOWN.values()]) + "\n"


def row(model: KnownModel) -> str:
    """One line of the table."""
    licence = f"[{model.licence.name}]({model.licence.url})"
    terms = licence if model.licence.commercial else f"{licence}: **no commercial use**"
    return f"| `{model.name}` | {model.megabytes} | {model.good_at} | `{model.contract}` | {terms} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
