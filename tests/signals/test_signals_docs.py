"""docs/signals.md lists every column as the code documents it."""

from pathlib import Path

import pytest

from curate.signals import COLUMNS, SCHEMA, Column

PAGE = Path(__file__).parents[2] / "docs" / "signals.md"


def table_row(column: Column) -> str:
    """The column as a line of the page; copy it there when a column changes."""
    cells = (f"`{column.name}`", str(column.type), column.unit, column.range, column.meaning, column.catches)
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("column", COLUMNS, ids=[column.name for column in COLUMNS])
def test_the_page_has_the_column(column: Column) -> None:
    assert table_row(column) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_no_other_columns() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line.split("`")[1] for line in lines if line.startswith("| `")] == SCHEMA.names


def test_every_column_says_what_it_is() -> None:
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)
    for column in COLUMNS:
        assert column.meaning.endswith(".")
        known = ("id", "signals_key", "modality", "body_part")
        assert column.name.startswith(("image_", "text_", "pair_")) or column.name in known
        assert column.catches or column.name in ("id", "signals_key", "image_problem")
