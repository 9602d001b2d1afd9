"""The demo model: a real OpenAI-compatible server on this machine that plays a model which is sometimes right.

It is there to try the whole flow without a model: it is told the answers, and how often it gives them follows from a
hash of the question. What it gets right says nothing about the data.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from curate.rollouts.options import DEMO_ROLLOUT_MODEL

_LARGEST_REQUEST: Final = 256 * 1024 * 1024
_UNTAGGED: Final = 0.03
"""Share of answers without tags, as models forget them."""


class Demo:
    """A running demo model."""

    def __init__(self) -> None:
        self.url = ""
        self._answers: dict[str, tuple[str, str]] = {}

    def teach(self, messages: list[dict[str, Any]], right: str, wrong: str) -> None:
        """Tell the answers of a question that is about to be asked."""
        self._answers[_digest(messages)] = right, wrong

    def forget(self, messages: list[dict[str, Any]]) -> None:
        """The question is done with."""
        self._answers.pop(_digest(messages), None)

    def reply(self, request: dict[str, Any]) -> str:
        """The answer to a request; the same for the same question and seed."""
        question = _digest(request["messages"])
        right, wrong = self._answers.get(question, ("I cannot tell", "I cannot tell"))
        pictures = any(
            isinstance(message["content"], list) and any(part["type"] == "image_url" for part in message["content"])
            for message in request["messages"]
        )
        # Hard, middling and easy questions are equally many; without its pictures a question is harder.
        skill = _chance(question, "skill") ** (1.0 if pictures else 2.0)
        seed = str(request.get("seed", 0))
        said = right if _chance(question, seed) < skill else wrong
        thought = f"<think>Looking at the question step by step, what stands out points to {said}.</think>"
        if _chance(question, f"tags {seed}") < _UNTAGGED:
            return f"{thought}\nI would say {said}."
        return f"{thought}\n<answer>{said}</answer>"


@contextmanager
def demo_model() -> Iterator[Demo]:
    """Run the demo model on this machine for the time of the ``with`` block."""
    demo = Demo()
    handler = type("Handler", (_Handler,), {"demo": demo})
    with _Server(("127.0.0.1", 0), handler) as server:
        demo.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield demo
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    demo: Demo
    protocol_version = "HTTP/1.1"
    timeout = 60
    # Head and body of an answer leave in one packet each; without this the second waits for the first's receipt.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LARGEST_REQUEST:
            self.close_connection = True
            self._answer(413, {"error": {"message": "the request has no length, or is too large"}})
            return
        body = self.rfile.read(int(length))
        try:
            request = json.loads(body)
            if self.path != "/v1/chat/completions" or request["model"] != DEMO_ROLLOUT_MODEL:
                self._answer(404, {"error": {"message": f"the only model here is {DEMO_ROLLOUT_MODEL}"}})
                return
            content = self.demo.reply(request)
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": {"message": f"not a request that the demo model understands: {error}"}})
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": len(content) // 4}
        head = {"id": "demo", "object": "chat.completion", "created": int(time.time()), "model": DEMO_ROLLOUT_MODEL}
        self._answer(200, {**head, "choices": [choice], "usage": usage})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Say nothing: standard error belongs to the progress display."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no event."""


def _digest(messages: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()


def _chance(question: str, what: str) -> float:
    """A number from 0 to 1 that follows from both."""
    return int.from_bytes(hashlib.sha256(f"{question}:{what}".encode()).digest()[:6]) / (1 << 48)
