"""An OpenAI-compatible endpoint on this machine, in a process of its own, that costs as little as it can.

``python endpoint.py --latency 0.5 --cap 32`` prints its address. It looks for the code of the sample in the request
without parsing it and answers with scores that are always the same: what a benchmark measures is the contestant.
``GET /account`` tells what it saw; ``POST /reset`` starts the account again.

It parses HTTP/1.1 requests with a Content-Length, which is what every contestant sends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

_REASONS = {200: "OK", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}
_END = b" ends ==="
_CODE = 12  # Length of the code that curate marks a sample with.


@dataclass
class Account:
    """What the endpoint saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    answered: Counter[bytes] = field(default_factory=Counter)
    """Answers by the sample's code."""
    in_flight: int = 0
    most_in_flight: int = 0
    first_request: float | None = None
    last_answer: float | None = None

    def as_json(self) -> bytes:
        """The account with times as seconds from the first request to the last answer."""
        both = self.first_request is not None and self.last_answer is not None
        seconds = self.last_answer - self.first_request if both else None  # type: ignore[operator]
        return json.dumps(
            {
                "calls": self.statuses.total(),
                "rejected": self.statuses[429] + self.statuses[503],
                "samples_answered": len(self.answered),
                "asked_again_after_an_answer": self.answered.total() - len(self.answered),
                "most_in_flight": self.most_in_flight,
                "seconds": seconds,
            }
        ).encode()


class Endpoint:
    """How the endpoint behaves, and its account."""

    def __init__(self, latency: float, cap: int | None, rejected: float, failing: float, seed: int) -> None:
        self.latency, self.cap = latency, cap
        self.rejected, self.failing = rejected, failing
        self.random = random.Random(seed)
        self.account = Account()

    def refusal(self) -> int | None:
        """The status that this request is refused with, if it is."""
        if self.cap is not None and self.account.in_flight >= self.cap:
            return 429
        if self.rejected or self.failing:
            chance = self.random.random()
            if chance < self.rejected + self.failing:
                return 429 if chance < self.rejected else 503
        return None


class Connection(asyncio.Protocol):
    """One connection of a client: requests one after the other."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._chunks: list[bytes] = []
        self._received = 0
        self._expected: int | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        # Parts of a large request are joined once, when it is whole.
        self._chunks.append(data)
        self._received += len(data)
        while self._received and (self._expected is None or self._received >= self._expected):
            if self._expected is None:
                self._expected = self._length(b"".join(self._chunks))
                if self._expected is None or self._received < self._expected:
                    return
            whole = b"".join(self._chunks)
            request, rest = whole[: self._expected], whole[self._expected :]
            self._chunks, self._received, self._expected = [rest], len(rest), None
            self._handle(request)

    def _length(self, data: bytes) -> int | None:
        """Bytes of the request that starts here, as far as its head tells."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = data[:end].lower()
        at = head.find(b"content-length:")
        if at < 0:
            return end + 4
        return end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])

    def _handle(self, request: bytes) -> None:
        endpoint = self._endpoint
        if request.startswith(b"GET /account"):
            self._send(200, endpoint.account.as_json())
            return
        if request.startswith(b"POST /reset"):
            endpoint.account = Account()
            self._send(200, b"{}")
            return
        if not request.startswith(b"POST /v1/chat/completions"):
            self._send(404, b'{"error":{"message":"no such path"}}')
            return
        account = endpoint.account
        if account.first_request is None:
            account.first_request = time.monotonic()
        status = endpoint.refusal()
        if status is not None:
            account.statuses[status] += 1
            self._send(status, b'{"error":{"message":"the endpoint is busy","type":"rate_limit_error","code":null}}')
            return
        account.in_flight += 1
        account.most_in_flight = max(account.most_in_flight, account.in_flight)
        if endpoint.latency:
            asyncio.get_running_loop().call_later(endpoint.latency, self._answer, request, account)
        else:
            self._answer(request, account)

    def _answer(self, request: bytes, account: Account) -> None:
        account.in_flight -= 1
        account.last_answer = time.monotonic()
        account.statuses[200] += 1
        end = request.rfind(_END)
        code = request[max(0, end - _CODE) : end]
        account.answered[code] += 1
        reply = _REPLY_WITH_IMAGES if b"data:image/" in request else _REPLY
        self._send(200, reply.replace(b"CODE", code))

    def _send(self, status: int, body: bytes) -> None:
        if self._transport is not None:
            head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
            self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def _completion(relevance: dict[str, int]) -> bytes:
    reply = {
        "rationale": "The text says what the sample shows, in plain words.",
        "medical_correctness": 4,
        "fluency": 5,
    }
    reply |= {**relevance, "completeness": 3, "practicality": 4, "defects": [], "sample": "CODE"}
    message = {"role": "assistant", "content": json.dumps(reply)}
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "benchmark-model",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }
    return json.dumps(completion).encode()


_REPLY, _REPLY_WITH_IMAGES = _completion({}), _completion({"relevance": 4})


async def serve(endpoint: Endpoint) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(endpoint), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """Parse the behaviour and serve."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible endpoint for benchmarks.")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--cap", type=int, help="answers 429 when so many requests are in flight")
    parser.add_argument("--rejected", type=float, default=0.0, help="share of requests answered 429 at random")
    parser.add_argument("--failing", type=float, default=0.0, help="share of requests answered 503 at random")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(Endpoint(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
