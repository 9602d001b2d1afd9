"""A bare loop over one way to send the same requests; the fourth argument names it, see ``WAYS``.

httpx and aiohttp get bodies written by orjson; the openai client writes its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from bare_loop import body_of

Send = Callable[[dict[str, Any]], Awaitable[bytes | str]]
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Authorization": "Bearer unused",
}
POOL = 8
"""Connections of one httpx pool: it looks through all of them for each request."""


@asynccontextmanager
async def openai_post(url: str, concurrency: int) -> AsyncIterator[Send]:
    """The openai client, without its types."""
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        yield lambda body: client.post("/chat/completions", cast_to=str, body=body)


@asynccontextmanager
async def openai_aiohttp(url: str, concurrency: int) -> AsyncIterator[Send]:
    """The same over the openai client's own aiohttp transport."""
    import openai

    http = openai.DefaultAioHttpClient()
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0, http_client=http) as client:
        yield lambda body: client.post("/chat/completions", cast_to=str, body=body)


@asynccontextmanager
async def httpx_pools(url: str, concurrency: int) -> AsyncIterator[Send]:
    """httpx2 with a pool for every eight places."""
    import httpx2

    limits = httpx2.Limits(max_connections=POOL, max_keepalive_connections=POOL)
    async with AsyncExitStack() as stack:
        pools = [
            await stack.enter_async_context(httpx2.AsyncClient(limits=limits, headers=HEADERS))
            for _ in range(-(-concurrency // POOL))
        ]
        turns = itertools.cycle(pools)

        async def send(body: dict[str, Any]) -> bytes:
            response = await next(turns).post(f"{url}/chat/completions", content=orjson.dumps(body))
            return response.raise_for_status().content

        yield send


@asynccontextmanager
async def aiohttp_session(url: str, concurrency: int) -> AsyncIterator[Send]:
    """aiohttp alone."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector, raise_for_status=True) as session:

        async def send(body: dict[str, Any]) -> bytes:
            async with session.post(f"{url}/chat/completions", data=orjson.dumps(body)) as response:
                return await response.read()

        yield send


WAYS = {"openai": openai_post, "openai-aiohttp": openai_aiohttp, "httpx": httpx_pools, "aiohttp": aiohttp_session}


async def work(send: Send, lines: Iterator[str], scores: list[int]) -> None:
    """Ask about samples until there are none left."""
    for line in lines:
        answer = orjson.loads(await send(body_of(line)))
        scores.append(json.loads(answer["choices"][0]["message"]["content"])["medical_correctness"])


async def loop(url: str, file: Path, concurrency: int, way: str) -> int:
    """All samples; the number that have a score."""
    scores: list[int] = []
    async with WAYS[way](url, concurrency) as send:
        with file.open() as lines:
            await asyncio.gather(*(work(send, lines, scores) for _ in range(concurrency)))
    return len(scores)


def main() -> None:
    """Ask; prints how many samples have a score, and the seconds of the loop."""
    url, folder, concurrency, way = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    started, processor = time.perf_counter(), time.process_time()
    scored = asyncio.run(loop(url, folder / "requests.jsonl", concurrency, way))
    figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - processor}
    print(json.dumps({"scored": scored, **figures}))


if __name__ == "__main__":
    main()
