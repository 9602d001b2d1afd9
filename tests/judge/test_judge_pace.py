"""The number of requests in flight, against simulated endpoints in simulated time; and the tasks that wait for it."""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from curate.judge.guard import Budget
from curate.judge.limiter import ClosedError, Limiter, Memory, Rate
from curate.judge.pace import START, Call, Pace


@dataclass
class Outcome:
    """What came of a simulated run."""

    seconds: float
    rejected: int
    limit: float


def simulate(
    requests: int = 1000,
    *,
    maximum: int = 64,
    latency: Callable[[random.Random], float] = lambda _: 0.5,
    cap: Callable[[float], int] = lambda _: 10**9,
    rejects: float = 0.0,
    fails: float = 0.0,
    tokens_per_second: float | None = None,
    way: float = 0.002,
    work: float = 0.001,
    seed: int = 0,
) -> Outcome:
    """A client that sends ``requests`` through a Pace to an endpoint, with time to travel and time of its own."""
    chance = random.Random(seed)
    pace = Pace(maximum)
    events: list[tuple[float, int, str, Call | None, int]] = []
    order = itertools.count()
    todo = deque([0] * requests)
    serving = done = rejected = 0
    busy_until = bucket_at = 0.0
    bucket = 10.0
    alarm: float | None = None

    def at(moment: float, what: str, call: Call | None = None, tries: int = 0) -> None:
        heapq.heappush(events, (moment, next(order), what, call, tries))

    at(0.0, "look")
    while done < requests:
        now, _, what, call, tries = heapq.heappop(events)
        if what == "arrives":
            if tokens_per_second is not None:
                bucket = min(10.0, bucket + (now - bucket_at) * tokens_per_second)
                bucket_at = now
            refused = serving >= cap(now) or chance.random() < rejects or bucket < 1
            bucket -= tokens_per_second is not None and not refused
            if refused or chance.random() < fails:
                at(now + way, "rejected" if refused else "failed", call, tries)
            else:
                serving += 1
                at(now + latency(chance), "served", call, tries)
            continue
        if what == "served":
            serving -= 1
            at(now + way, "accepted", call, tries)
            continue
        if now < busy_until:
            at(busy_until, what, call, tries)
            continue
        busy_until = now + work
        if what == "retry":
            todo.appendleft(tries)
        elif call is not None:
            getattr(pace, what)(call, now)
            done += what == "accepted"
            rejected += what == "rejected"
            if what != "accepted":
                at(now + min(0.5, 0.25 * 2**tries) * chance.uniform(0.5, 1.5), "retry", None, tries + 1)
        while todo and pace.may_start(busy_until):
            busy_until += work
            at(busy_until + way, "arrives", pace.start(busy_until), todo.popleft())
        moment = pace.next_start(busy_until) if todo else None
        if moment is not None and (alarm is None or alarm <= now or moment < alarm):
            alarm = max(moment, busy_until) + 1e-6
            at(alarm, "look")
    return Outcome(now, rejected, pace.limit)


def test_without_a_limit_the_maximum_is_reached_at_once() -> None:
    assert simulate().seconds < 1000 * 0.5 / 64 * 1.1
    assert simulate(maximum=8, requests=100).seconds < 100 * 0.5 / 8 * 1.1


@pytest.mark.parametrize("cap", [20, 28, 32, 37, 40, 50, 60])
@pytest.mark.parametrize("latency", [lambda _: 0.5, lambda r: r.uniform(0.2, 0.8)], ids=["steady", "uneven"])
def test_a_limit_is_found_with_few_rejections(cap: int, latency: Callable[[random.Random], float]) -> None:
    for seed in range(3):
        outcome = simulate(cap=lambda _: cap, latency=latency, seed=seed)
        assert outcome.seconds < 1000 * 0.5 / cap * 1.2
        assert outcome.rejected < max(25, START - cap + 15)


@pytest.mark.parametrize("cap", [1, 3, 8])
def test_a_small_limit_costs_the_first_burst_and_little_more(cap: int) -> None:
    outcome = simulate(200, cap=lambda _: cap)
    assert outcome.seconds < 200 * 0.5 / cap * 1.15
    assert outcome.rejected < 2 * START + 5


def test_a_far_endpoint_is_no_different() -> None:
    outcome = simulate(cap=lambda _: 32, way=0.04)
    assert outcome.seconds < 1000 * 0.58 / 32 * 1.2
    assert outcome.rejected < 30


def test_rejections_by_chance_do_not_slow_down() -> None:
    seconds = sorted(simulate(rejects=0.05, fails=0.05, seed=seed).seconds for seed in range(15))
    assert seconds[7] < 1000 * 0.5 / 64 * 1.25
    assert all(simulate(rejects=0.05, fails=0.05, seed=seed).limit > 60 for seed in range(5))


def test_room_that_opens_is_taken_and_room_that_closes_is_given_up() -> None:
    opened = simulate(4000, cap=lambda now: 16 if now < 20 else 60)
    assert opened.limit > 50
    assert opened.seconds < 20 + (4000 - 640) * 0.5 / 60 * 1.35
    closed = simulate(2000, cap=lambda now: 10**9 if now < 5 else 12)
    assert closed.limit < 16
    assert closed.rejected < 200


def test_a_rate_limit_is_not_stormed() -> None:
    outcome = simulate(1000, tokens_per_second=20)
    assert outcome.seconds < 1000 / 20 * 1.3
    assert outcome.rejected < 400


def test_a_failing_endpoint_is_left_alone_ever_longer() -> None:
    pace, now, sent = Pace(64), 0.0, 0
    while now < 120:
        calls = []
        while pace.may_start(now):
            calls.append(pace.start(now))
        sent += len(calls)
        now += 0.05
        for call in calls:
            pace.failed(call, now)
        now = max(now, pace.next_start(now) or now)
    assert sent < 64 * 10
    assert pace.limit >= 40


def test_retry_after_holds_everything_when_most_is_rejected() -> None:
    pace, now, sent = Pace(64), 0.0, 0
    while pace.may_start(now) and sent < 100:
        pace.rejected(pace.start(now), now, 7.0)
        now += 0.01
        sent += 1
    assert sent < 20
    assert pace.next_start(now) == pytest.approx(now + 7, abs=0.1)
    assert not pace.may_start(now + 6.9)
    assert pace.may_start(now + 7.1)


def test_limiter_hands_out_places_in_order_and_urgent_ones_first() -> None:
    async def go() -> list[str]:
        limiter = Limiter(Pace(1))
        served: list[str] = []

        async def ask(name: str, *, urgent: bool = False) -> None:
            call = await limiter.start(urgent=urgent)
            served.append(name)
            await asyncio.sleep(0)
            limiter.accepted(call)

        held = await limiter.start()
        tasks = [asyncio.create_task(ask(name)) for name in "abc"]
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(ask("again", urgent=True)))
        gone = asyncio.create_task(ask("gone"))
        await asyncio.sleep(0)
        gone.cancel()
        limiter.accepted(held)
        await asyncio.gather(*tasks)
        assert limiter.pace.in_flight == 0
        return served

    assert asyncio.run(go()) == ["again", "a", "b", "c"]


def test_limiter_waits_out_a_hold_by_itself_and_ends_when_closed() -> None:
    async def go() -> None:
        limiter = Limiter(Pace(64))
        for call in [await limiter.start() for _ in range(40)]:
            limiter.failed(call)
        assert not limiter.pace.may_start(limiter.pace.hold_until - 0.1)
        limiter.accepted(await asyncio.wait_for(limiter.start(), 5))
        everything = [asyncio.create_task(limiter.start()) for _ in range(100)]
        await asyncio.sleep(0.01)
        limiter.close()
        ended = await asyncio.gather(*everything, return_exceptions=True)
        assert sum(isinstance(end, ClosedError) for end in ended) >= 100 - 64
        with pytest.raises(ClosedError):
            await limiter.start()

    asyncio.run(go())


def test_rate_spreads_evenly() -> None:
    rate = Rate(60)
    waits = [rate.take() for _ in range(5)]
    assert waits == pytest.approx([0, 1, 2, 3, 4], abs=0.05)
    rate.correct(-4)
    assert rate.take() == pytest.approx(1, abs=0.05)
    assert Rate(None).take(10**9) == 0


def test_memory_lets_a_large_request_through_alone() -> None:
    async def go() -> int:
        memory, most, now = Memory(100), 0, 0

        async def use(amount: int) -> None:
            nonlocal most, now
            async with memory.hold(amount):
                now += amount
                most = max(most, now)
                await asyncio.sleep(0.001)
                now -= amount

        await asyncio.gather(*(use(amount) for amount in [40, 40, 40, 250, 40, 90, 20] * 5))
        return most

    assert asyncio.run(go()) == 250


def test_budget_waits_for_what_is_in_flight_before_it_says_no() -> None:
    async def go() -> None:
        budget = Budget(1.0)
        assert await budget.reserve(0.6)
        second = asyncio.create_task(budget.reserve(0.6))
        await asyncio.sleep(0)
        assert not second.done()
        budget.settle(0.6, 0.3)
        assert await second
        budget.settle(0.6, 0.6)
        assert not await budget.reserve(0.2)
        assert await budget.reserve(0.1)

    asyncio.run(go())
