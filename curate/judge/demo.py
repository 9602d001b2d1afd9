"""The demo judge: a real OpenAI-compatible HTTP server on this machine that scores by the rules of ``demo_rules``.

It is there to try the whole flow without a model. It is no medical judge, and says so in every verdict.
``python -m curate.judge.demo --port 8123`` runs it on its own.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from curate.judge.demo_rules import judge
from curate.judge.endpoint import DEMO_MODEL

LARGEST_REQUEST = 256 * 1024 * 1024
BYTES_PER_TOKEN = 4
TOKENS_PER_PICTURE = 500
"""What its usage figures rest on; a real endpoint counts for itself."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    # Head and body of an answer leave in one packet each; without this the second waits for the first's receipt.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": DEMO_MODEL, "object": "model", "owned_by": "curate"}]})
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
            if request["model"] != DEMO_MODEL:
                self._error(404, f"the only model here is {DEMO_MODEL}")
                return
            reply = judge(request)
        except (ValueError, KeyError, TypeError) as error:
            self._error(400, f"not a request that the demo judge understands: {error}")
            return
        content = json.dumps(reply, ensure_ascii=False)
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        prose, pictures = re.subn(rb'data:image/[^"]*', b"", body)
        prompt_tokens = len(prose) // BYTES_PER_TOKEN + pictures * TOKENS_PER_PICTURE
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(content) // BYTES_PER_TOKEN}
        usage["total_tokens"] = sum(usage.values())
        completion = {"id": f"demo-{reply['sample']}", "object": "chat.completion", "created": int(time.time())}
        self._answer(200, {**completion, "model": DEMO_MODEL, "choices": [choice], "usage": usage})

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


@contextmanager
def demo_judge(port: int = 0) -> Iterator[str]:
    """Run the demo judge on this machine for the time of the ``with`` block; gives its base address."""
    with _Server(("127.0.0.1", port), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Run the demo judge until it is interrupted."""
    parser = argparse.ArgumentParser(description="The demo judge of curate: fixed rules, no medical judgement.")
    parser.add_argument("--port", type=int, default=8123)
    with demo_judge(parser.parse_args().port) as url:
        print(f"{DEMO_MODEL} at {url} (no medical judge); Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
