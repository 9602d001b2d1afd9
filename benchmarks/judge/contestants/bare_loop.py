"""No tool at all: as many tasks as requests may be in flight, each calling the openai client and parsing the reply.

It keeps nothing, retries nothing and checks nothing. ``post`` as a fourth argument leaves out what the client does for
the types of requests and answers, and sends the same body through the client's ``post``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai


def body_of(line: str) -> dict[str, Any]:
    """The request for one line: pictures are read and encoded here, as they are needed."""
    row = json.loads(line)
    for part in row["content"]:
        if part["type"] == "image_url":
            data = Path(part["image_url"]["url"]).read_bytes()
            part["image_url"]["url"] = f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
    return {
        "model": "benchmark-model",
        "messages": [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["content"]}],
        "max_tokens": 4096,
        "temperature": 0.0,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": row["schema"]},
        },
    }


async def work(client: openai.AsyncOpenAI, lines: Iterator[str], scores: list[int], *, post: bool) -> None:
    """Ask about samples until there are none left."""
    for line in lines:
        if post:
            answer = json.loads(await client.post("/chat/completions", cast_to=str, body=body_of(line)))
            content = answer["choices"][0]["message"]["content"]
        else:
            completion = await client.chat.completions.create(**body_of(line))
            content = completion.choices[0].message.content
        scores.append(json.loads(content)["medical_correctness"])


async def loop(url: str, file: Path, concurrency: int, *, post: bool) -> int:
    """All samples; the number that have a score."""
    scores: list[int] = []
    async with openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        with file.open() as lines:
            await asyncio.gather(*(work(client, lines, scores, post=post) for _ in range(concurrency)))
    return len(scores)


def main() -> None:
    """Ask; prints how many samples have a score, and the seconds of the loop."""
    url, folder, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    started, processor = time.perf_counter(), time.process_time()
    scored = asyncio.run(loop(url, folder / "requests.jsonl", concurrency, post=sys.argv[4:] == ["post"]))
    print(
        json.dumps({"scored": scored, "seconds": time.perf_counter() - started, "cpu": time.process_time() - processor})
    )


if __name__ == "__main__":
    main()
