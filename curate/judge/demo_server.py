"""A small OpenAI-compatible server on this machine, for the models that curate plays itself."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGEST_REQUEST = 256 * 1024 * 1024
BYTES_PER_TOKEN = 4
TOKENS_PER_PICTURE = 500
"""What its usage figures rest on; a real endpoint counts for itself."""

Reply = Callable[[dict[str, Any]], str]
"""The text that answers a chat request; ValueError, KeyError or TypeError for one that it does not understand."""


@contextmanager
def serve(model: str, reply: Reply, port: int = 0) -> Iterator[str]:
    """Play ``model`` for the time of the ``with`` block; gives the base address."""
    handler = type("Handler", (_Handler,), {"model": model, "reply": staticmethod(reply)})
    with _Server(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    model: str
    reply: Reply
    protocol_version = "HTTP/1.1"
    timeout = 60
    # Head and body of an answer leave in one packet each; without this the second waits for the first's receipt.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": self.model, "object": "model", "owned_by": "curate"}]})
        else:
            self._error(404, f"no such path: {self.path}")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > LARGEST_REQUEST:
            self.close_connection = True
            self._error(413, "the request has no length, or is too large")
            return
        body = self.rfile.read(int(length))
        if self.path != "/v1/chat/completions":
            self._error(404, f"no such path: {self.path}")
            return
        try:
            request = json.loads(body)
            if request["model"] != self.model:
                self._error(404, f"the only model here is {self.model}")
                return
            content = self.reply(request)
        except (ValueError, KeyError, TypeError) as error:
            self._error(400, f"not a request that the demo understands: {error}")
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        prose, pictures = re.subn(rb'data:image/[^"]*', b"", body)
        prompt_tokens = len(prose) // BYTES_PER_TOKEN + pictures * TOKENS_PER_PICTURE
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(content) // BYTES_PER_TOKEN}
        usage["total_tokens"] = sum(usage.values())
        completion = {"id": "demo", "object": "chat.completion", "created": int(time.time()), "model": self.model}
        self._answer(200, {**completion, "choices": [choice], "usage": usage})

    def _error(self, status: int, message: str) -> None:
        self._answer(status, {"error": {"message": message, "type": "invalid_request_error", "code": None}})

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
