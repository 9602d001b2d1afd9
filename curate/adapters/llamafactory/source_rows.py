"""What can be seen in the rows themselves, before anything is tokenised: rows that LLaMA-Factory drops or stops at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from curate.adapters.llamafactory.data_plan import DataPlan
from curate.adapters.llamafactory.mixture import EXPORT, ROW, row_groups
from curate.schemas import IMAGE_PLACEHOLDER

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NAMED: Final = 20
"""Rows of one fault that are named; the others are counted."""

Problem = dict[str, Any]
"""``file``, ``row`` (from 1, or None) and ``message``."""


@dataclass
class SourceRows:
    """The rows of one split in LLaMA-Factory's order."""

    plan: DataPlan
    split: str
    export: np.ndarray[Any, Any] = field(init=False)
    """Number of each row's export in the plan."""
    row: np.ndarray[Any, Any] = field(init=False)
    """Its row there, from 1."""
    ids: pa.ChunkedArray = field(init=False)
    turns: np.ndarray[Any, Any] = field(init=False)
    pictures: np.ndarray[Any, Any] = field(init=False)

    def problem(self, place: int, message: str) -> Problem:
        """A fault of the row at ``place``, named by its export's file, its row there and the id of its sample."""
        export = self.plan.exports[int(self.export[place])]
        return {
            "file": f"{export.name}/{self.split}.parquet",
            "row": int(self.row[place]),
            "message": f"sample {self.ids[place].as_py()[:12]}: {message}",
        }

    def problems(self, places: Sequence[int], message: str) -> list[Problem]:
        """The same fault of many rows: the first ones by name, then how many more there are."""
        found = [self.problem(place, message) for place in places[:NAMED]]
        if len(places) > NAMED:
            more = {"file": f"{self.split}.parquet of the exports", "row": None}
            found.append(more | {"message": f"{len(places) - NAMED:,} more rows: {message}"})
        return found


def read_rows(plan: DataPlan, data: Path, split: str) -> tuple[SourceRows, list[Problem]]:
    """All rows of ``split``, and the faults that show in them."""
    import numpy as np
    import pyarrow as pa

    rows = SourceRows(plan, split)
    exports, numbers, ids, turns, pictures = [], [], [], [], []
    dropped: list[int] = []
    miscounted: list[int] = []
    missing: dict[str, int] = {}
    seen: set[str] = set()
    first = 0
    for group in row_groups(plan, data, split):
        exports.append(group.column(EXPORT).to_numpy())
        numbers.append(group.column(ROW).to_numpy())
        ids.append(group.column("id").combine_chunks())
        turns.append(_lengths(group, "messages"))
        pictures.append(_lengths(group, "images"))
        out_of_order, wrong_count = _faults(group)
        dropped += (first + np.flatnonzero(out_of_order)).tolist()
        miscounted += (first + np.flatnonzero(wrong_count & ~out_of_order)).tolist()
        for place, path in _new_pictures(group, plan, seen):
            if not path.is_file():
                missing.setdefault(str(path), first + place)
        first += group.num_rows
    columns = (np.concatenate(part) if part else np.empty(0, np.int64) for part in (exports, numbers, turns, pictures))
    rows.export, rows.row, rows.turns, rows.pictures = columns
    rows.ids = pa.chunked_array(ids, pa.string())
    problems = rows.problems(
        dropped,
        "LLaMA-Factory drops the row: its turns must alternate, the user's first, and end with the assistant's; mend "
        "the export or leave the row out",
    )
    problems += rows.problems(
        miscounted, f"the number of {IMAGE_PLACEHOLDER} in its turns is not the number of its pictures"
    )
    named = list(missing.items())
    problems += [
        rows.problem(place, f"its picture {path} does not exist; export again") for path, place in named[:NAMED]
    ]
    if len(named) > NAMED:
        more = f"{len(named) - NAMED:,} more pictures do not exist; export again"
        problems.append({"file": f"{split}.parquet of the exports", "row": None, "message": more})
    return rows, problems


def unreadable_pictures(rows: SourceRows, data: Path) -> list[Problem]:
    """The pictures that cannot be decoded, at most `NAMED`. Decodes all of them: call it when loading has failed."""
    from concurrent.futures import ThreadPoolExecutor
    from itertools import islice

    def used() -> Iterator[tuple[int, Path]]:
        first, seen = 0, set[str]()
        for group in row_groups(rows.plan, data, rows.split):
            yield from ((first + place, path) for place, path in _new_pictures(group, rows.plan, seen))
            first += group.num_rows

    problems: list[Problem] = []
    pictures = used()
    with ThreadPoolExecutor() as pool:
        while len(problems) < NAMED and (batch := list(islice(pictures, 1000))):
            for (place, path), fault in zip(
                batch, pool.map(_fault_of_picture, [path for _, path in batch]), strict=True
            ):
                if fault:
                    problems.append(rows.problem(place, f"its picture {path} cannot be read ({fault}); export again"))
    return problems[:NAMED]


def _faults(group: pa.Table) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which rows LLaMA-Factory's converter drops, and which have another number of placeholders than of pictures."""
    import numpy as np
    import pyarrow.compute as pc

    messages = group.column("messages").combine_chunks()
    turns = _lengths(group, "messages")
    row = np.repeat(np.arange(group.num_rows), turns)
    starts = np.cumsum(turns) - turns
    content = messages.flatten()
    role = content.field("role")
    place = np.arange(len(row)) - starts[row]
    # A system message in front is taken out before the turns are counted.
    system = np.zeros(group.num_rows, dtype=np.int64)
    is_system = pc.equal(role, "system").to_numpy(zero_copy_only=False)
    system[row[is_system & (place == 0)]] = 1
    place = place - system[row]
    is_user = pc.equal(role, "user").to_numpy(zero_copy_only=False)
    is_assistant = pc.equal(role, "assistant").to_numpy(zero_copy_only=False)
    wrong = ~np.where(place % 2 == 0, is_user, is_assistant) & (place >= 0)
    out_of_order = np.bincount(row, weights=wrong, minlength=group.num_rows) > 0
    said = turns - system
    out_of_order |= (said % 2 == 1) | (said == 0)
    shown = pc.fill_null(pc.count_substring(content.field("content"), IMAGE_PLACEHOLDER), 0).to_numpy()
    placeholders = np.bincount(row, weights=shown, minlength=group.num_rows)
    return out_of_order, placeholders != _lengths(group, "images")


def _lengths(group: pa.Table, column: str) -> np.ndarray[Any, Any]:
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.fill_null(pc.list_value_length(group.column(column)), 0).to_numpy())


def _new_pictures(group: pa.Table, plan: DataPlan, seen: set[str]) -> Iterator[tuple[int, Path]]:
    """(place in ``group``, path) of the pictures that are not in ``seen`` yet."""
    import pyarrow.compute as pc

    images = group.column("images").combine_chunks()
    places = pc.list_parent_indices(images).to_pylist()
    folder = Path(plan.exports[0].path)
    for place, name in zip(places, images.flatten().to_pylist(), strict=True):
        if name not in seen:
            seen.add(name)
            yield place, folder / name  # an absolute name, as in a mixture, stays as it is


def _fault_of_picture(path: Path) -> str | None:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            picture.load()
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise nearly anything on broken data
        return str(error) or type(error).__name__
    return None
