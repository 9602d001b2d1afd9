"""A stream worked on in threads, then in processes: the same results in the same order, whoever made them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from curate.corpus import UserError
from curate.engine import map_in_order

Slow = Callable[[int], tuple[int, int]]
"""From a number to the process that squared it, and the square."""


def make(delay: float = 0.0) -> Slow:
    def square(number: int) -> tuple[int, int]:
        # The later the sooner done: results have to wait for those before them.
        time.sleep(delay * (3 - number % 4))
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass
        if number == -1:
            raise ValueError("minus one")
        if number == -2:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid(), number * number

    return square


def squares(items: Iterator[int], patience: float, delay: float = 0.0) -> Iterator[tuple[int, int]]:
    return map_in_order(partial(make, delay), items, size=lambda _: 1, patience=patience, workers=2)


@pytest.mark.parametrize(
    ("patience", "here", "elsewhere"), [(60.0, True, False), (0.0, False, True), (0.05, True, True)]
)
def test_results_come_in_order_from_threads_and_from_processes(patience: float, here: bool, elsewhere: bool) -> None:
    found = list(squares(iter(range(120)), patience, delay=0.01))
    assert [square for _, square in found] == [number * number for number in range(120)]
    makers = {maker for maker, _ in found}
    assert (os.getpid() in makers) == here
    assert bool(makers - {os.getpid()}) == elsewhere
    assert multiprocessing.active_children() == []


def test_one_core_stays_in_this_process() -> None:
    found = list(map_in_order(make, iter(range(20)), size=lambda _: 1, patience=0.0, workers=1))
    assert {maker for maker, _ in found} == {os.getpid()}


@pytest.mark.parametrize("patience", [60.0, 0.0])
@pytest.mark.parametrize(("size", "most"), [(1, 5), (200 * 2**20, 2)])
def test_items_are_taken_a_bounded_number_and_bounded_bytes_ahead(patience: float, size: int, most: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield number

    for done, _ in enumerate(map_in_order(make, items(), size=lambda _: size, patience=patience, workers=2)):
        assert taken - done <= most


@pytest.mark.parametrize("patience", [60.0, 0.0])
def test_an_error_of_the_function_is_raised_and_the_processes_end(patience: float) -> None:
    found = []
    with pytest.raises(ValueError, match="minus one"):
        found.extend(squares(iter([1, 2, -1, *range(100)]), patience))
    assert multiprocessing.active_children() == []


def test_who_stops_early_leaves_no_process() -> None:
    results = map_in_order(partial(make, 20.0), iter([3, *range(100)]), size=lambda _: 1, patience=0.0, workers=2)
    assert next(results)[1] == 9
    assert multiprocessing.active_children() != [], "they are at work for a minute"
    results.close()
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_a_sentence() -> None:
    with pytest.raises(UserError, match="a worker process was killed, probably for lack of memory"):
        list(squares(iter([1, -2, *range(1000)]), 0.0))
    assert multiprocessing.active_children() == []


def depth_of() -> Callable[[Any], int]:
    def depth(value: Any) -> int:
        levels = 0
        while value:
            levels, value = levels + 1, value[0]
        return levels

    return depth


def test_an_item_that_is_nested_too_deep_to_be_sent_is_worked_on_here() -> None:
    deep: list[Any] = []
    for _ in range(50_000):
        deep = [deep]
    assert list(map_in_order(depth_of, iter([[[]], deep, [[]]]), size=lambda _: 1, patience=0.0, workers=2)) == [
        1,
        50_000,
        1,
    ]
