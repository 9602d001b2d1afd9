"""An OpenAI-compatible endpoint on the loopback interface that behaves, or misbehaves, as it is told.

It is a real HTTP server in a thread of its own, or a process: ``python -m tests.judge.endpoint --latency 0.5 --cap 32``
prints its address and, when it is interrupted, what it saw.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Request:
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float = field(default_factory=time.monotonic)

    @property
    def code(self) -> str:
        """The code of the sample that is asked about."""
        return re.findall(r"=== sample ([0-9a-f]+) ends ===", json.dumps(self.body["messages"][-1]))[-1]

    @property
    def user(self) -> list[dict[str, Any]]:
        """Parts of the user message."""
        parts: list[dict[str, Any]] = self.body["messages"][-1]["content"]
        return parts

    @property
    def has_images(self) -> bool:
        return any(part["type"] == "image_url" for part in self.user)

    @property
    def mode(self) -> str:
        return str(self.body.get("response_format", {}).get("type", "text"))


class Connection:
    """The way back to the client."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.keep = True

    async def send(self, data: bytes) -> None:
        """Raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int, content: object, headers: dict[str, str] | None = None, *, kind: str = "application/json"
    ) -> None:
        """A whole HTTP response; ``content`` is JSON unless it is bytes."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        await self.send(
            head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}) + body
        )


def head(status: int, headers: dict[str, str]) -> bytes:
    """Status line and headers."""
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def reply(request: Request, **changes: Any) -> dict[str, Any]:
    """A reply to the sample that is valid but for the changes; a change to None takes the field away."""
    fields: dict[str, Any] = {"rationale": "Shows and says the same.", "medical_correctness": 4, "fluency": 5}
    if request.has_images:
        fields["relevance"] = 4
    fields |= {"completeness": 3, "practicality": 4, "defects": [], "sample": request.code}
    fields |= changes
    return {name: value for name, value in fields.items() if value is not None}


def completion(content: object, **changes: Any) -> dict[str, Any]:
    """A chat completion with this content (JSON unless it is a string or None)."""
    text = content if content is None or isinstance(content, str) else json.dumps(content)
    whole: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
    return whole | changes


Behaviour = Callable[[Request, Connection], Awaitable[None]]


async def well(request: Request, connection: Connection) -> None:
    """Answers as it should."""
    await connection.answer(200, completion(reply(request)))


class Endpoint:
    """The server. ``behaviour`` answers each request that is let through; it may be exchanged at any time."""

    def __init__(
        self,
        behaviour: Behaviour = well,
        *,
        latency: float = 0.0,
        cap: int | None = None,
        rejected: float = 0.0,
        failing: float = 0.0,
        retry_after: str | None = None,
        seed: int = 0,
        tls: ssl.SSLContext | None = None,
        keep_requests: bool = True,
    ) -> None:
        self.behaviour = behaviour
        self.latency = latency
        self.cap = cap
        self.rejected, self.failing = rejected, failing
        self.retry_after = retry_after
        self.requests: list[Request] = []
        self.answered: Counter[str] = Counter()
        """Answers whose last byte was handed to the network, by sample code."""
        self.statuses: Counter[int] = Counter()
        self.in_flight = self.most_in_flight = 0
        self._random = random.Random(seed)
        self._tls = tls
        self._keep = keep_requests
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *details: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls, backlog=512, limit=1 << 20)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            while connection.keep:
                top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in top[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                await self._handle(Request(top[0].split(" ")[1], headers, json.loads(body or b"{}")), connection)
        with contextlib.suppress(Exception):
            writer.close()

    async def _handle(self, request: Request, connection: Connection) -> None:
        if self._keep:
            self.requests.append(request)
        headers = {"Retry-After": self.retry_after} if self.retry_after is not None else {}
        if self.cap is not None and self.in_flight >= self.cap:
            self.statuses[429] += 1
            await connection.answer(429, {"error": {"message": "too many requests in flight"}}, headers)
            return
        chance = self._random.random()
        if chance < self.rejected + self.failing:
            status = 429 if chance < self.rejected else 503
            self.statuses[status] += 1
            await connection.answer(status, {"error": {"message": "by chance"}}, headers)
            return
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        await self.behaviour(request, connection)
        self.statuses[200] += 1
        with contextlib.suppress(IndexError, KeyError, TypeError):
            self.answered[request.code] += 1


def always(status: int, content: object, headers: dict[str, str] | None = None) -> Behaviour:
    """The same response to everything."""

    async def behave(request: Request, connection: Connection) -> None:
        await connection.answer(status, content, headers)

    return behave


def replying(change: Callable[[Request], object], **completion_changes: Any) -> Behaviour:
    """A completion whose content is made from the request."""

    async def behave(request: Request, connection: Connection) -> None:
        await connection.answer(200, completion(change(request), **completion_changes))

    return behave


def first(bad: Behaviour, times: int = 1, then: Behaviour = well) -> Behaviour:
    """``bad`` for the first so many requests about each sample, then ``then``."""
    seen: Counter[str] = Counter()

    async def behave(request: Request, connection: Connection) -> None:
        seen[request.code] += 1
        await (bad if seen[request.code] <= times else then)(request, connection)

    return behave


async def hang_after_headers(request: Request, connection: Connection) -> None:
    await connection.send(head(200, {"Content-Type": "application/json", "Content-Length": "500"}))
    await asyncio.sleep(3600)


async def drip(request: Request, connection: Connection) -> None:
    body = json.dumps(completion(reply(request))).encode()
    await connection.send(head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}))
    for byte in body:
        await connection.send(bytes([byte]))
        await asyncio.sleep(1)


async def spaces(request: Request, connection: Connection) -> None:
    connection.keep = False
    await connection.send(head(200, {"Content-Type": "application/json", "Content-Length": str(10 << 20)}))
    for _ in range(160):
        await connection.send(b" " * 65536)


async def close_mid_body(request: Request, connection: Connection) -> None:
    body = json.dumps(completion(reply(request))).encode()
    connection.keep = False
    await connection.send(head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))}))
    await connection.send(body[: len(body) // 2])


async def reset(request: Request, connection: Connection) -> None:
    connection.keep = False
    connection.writer.transport.abort()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--cap", type=int)
    parser.add_argument("--rejected", type=float, default=0.0)
    parser.add_argument("--failing", type=float, default=0.0)
    parser.add_argument("--retry-after")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    port = options.pop("port")
    endpoint = Endpoint(keep_requests=False, **options)
    endpoint.port = port
    with endpoint:
        print(endpoint.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        print(json.dumps({"statuses": dict(endpoint.statuses), "most_in_flight": endpoint.most_in_flight}), flush=True)


if __name__ == "__main__":
    main()
