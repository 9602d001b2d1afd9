"""Damage to bytes that know nothing of their format."""

from __future__ import annotations

import random

_INTERESTING = (
    b"\0",
    b"\xff",
    b"\x80",
    b"\x7f",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\r\n",
    b"\xef\xbb\xbf",
    b'"',
    b"{",
    b"[",
)


def damage(chance: random.Random, data: bytes, times: int | None = None) -> bytes:
    """``data`` with one to four things done to it."""
    for _ in range(times or chance.choice((1, 1, 2, 4))):
        data = chance.choice(_DAMAGES)(chance, data)
    return data


def _place(chance: random.Random, data: bytes) -> int:
    """A position; early ones, where headers are, come more often."""
    most = len(data) if chance.random() < 0.5 else min(len(data), 128)
    return chance.randint(0, most)


def _flip(chance: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 2, 16))):
        if changed:
            changed[min(_place(chance, data), len(changed) - 1)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(chance: random.Random, data: bytes) -> bytes:
    start, new = _place(chance, data), chance.choice(_INTERESTING)
    return data[:start] + new + data[start + len(new) :]


def _insert(chance: random.Random, data: bytes) -> bytes:
    start = _place(chance, data)
    return data[:start] + chance.choice((*_INTERESTING, chance.randbytes(chance.randint(1, 64)))) + data[start:]


def _truncate(chance: random.Random, data: bytes) -> bytes:
    return data[: _place(chance, data)]


def _cut_out(chance: random.Random, data: bytes) -> bytes:
    start = _place(chance, data)
    return data[:start] + data[start + chance.choice((1, 2, 16, 512)) :]


def _repeat(chance: random.Random, data: bytes) -> bytes:
    start = _place(chance, data)
    piece = data[start : start + chance.choice((1, 4, 64, 4096))]
    return data[:start] + piece * chance.choice((2, 3, 50)) + data[start + len(piece) :]


def _append(chance: random.Random, data: bytes) -> bytes:
    return data + chance.choice((b"\0" * 1000, chance.randbytes(100), data[:2000], b"</html>"))


def _zero(chance: random.Random, data: bytes) -> bytes:
    start = _place(chance, data)
    size = chance.choice((4, 64, 4096))
    return data[:start] + b"\0" * min(size, len(data) - start) + data[start + size :]


_DAMAGES = (_flip, _flip, _overwrite, _insert, _truncate, _cut_out, _repeat, _append, _zero)
