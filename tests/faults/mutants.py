"""Seeded mutants of the examples: ``mutant(seed)`` is the same files on every machine.

Most mutants are damaged in structure (a field, a type, a depth, a chunk of a picture, an element of a DICOM file), so
that they get past the first check of a reader; some are damaged in their bytes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from faults.mutate_bytes import damage
from faults.mutate_containers import container
from faults.mutate_pictures import dicom, picture
from faults.mutate_records import line, whole_line


@dataclass(frozen=True)
class Mutant:
    """Files to put into a folder of their own, beside the folder ``pictures`` with the intact pictures."""

    seed: int
    kind: str
    files: dict[str, bytes]
    """Content by file name."""
    rows: int | None
    """Rows that must come out of the folder; None when the damage may hide how many there are (at least one)."""


def mutant(seed: int) -> Mutant:
    """The mutant of a seed."""
    chance = random.Random(seed)
    kind = chance.choices(("record", "captioned", "picture", "dicom", "container"), (50, 7, 20, 6, 17))[0]
    files, rows = _MAKERS[kind](chance)
    return Mutant(seed, kind, files, rows)


def _record(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    """JSON lines: a whole one, then mutants, so that what the file is and how many rows it has stays beyond doubt."""
    lines = [whole_line(chance), *(line(chance) for _ in range(chance.randint(1, 2)))]
    data = b"\n".join(lines) + (b"\n" if chance.random() < 0.9 else b"")
    if chance.random() < 0.85:
        return {"r.jsonl": data}, sum(bool(part.strip()) for part in data.split(b"\n"))
    return {"r.jsonl": damage(chance, data)}, None


def _captioned(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    """A picture with sidecars that are damaged."""
    name, data = picture(chance, whole=True)
    stem = name.rsplit(".", 1)[0]
    files = {name: data}
    if chance.random() < 0.7:
        files[f"{stem}.json"] = line(chance)
    if chance.random() < 0.7 or len(files) == 1:
        files[f"{stem}.txt"] = damage(chance, "Brauner Farbstoff im Drüsenepithel, 5 µm.".encode())
    return files, None if f"{stem}.json" in files else 1


def _picture(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    name, data = picture(chance)
    return {name: data, f"{name.rsplit('.', 1)[0]}.txt": b"A finding is visible."}, 1


def _dicom(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    return {"scan.dcm": dicom(chance), "scan.txt": b"A scan."}, 1


_MAKERS = {
    "record": _record,
    "captioned": _captioned,
    "picture": _picture,
    "dicom": _dicom,
    "container": container,
}
