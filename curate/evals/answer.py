"""Let a model answer rows greedily, one line a row; runs in the environment of a trainer.

    python -m curate.evals.answer MODEL DATA.parquet ANSWERS.jsonl [--max-new-tokens N] [--batch-size N] [--limit N]

Each line is on disk before the next batch begins, so a run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from curate.evals.messages import Prompt, build_prompt
from curate.evals.protocol import read_answers, unanswered


class Question(NamedTuple):
    """A row that is asked."""

    row: int
    """Its number in the file, from 1."""
    id: str
    text: str
    """The chat, rendered by the model's template."""
    pictures: list[Any]


class Answer(NamedTuple):
    """What the model said."""

    response: str
    tokens: int
    """New tokens, the one that ends the turn included."""
    stopped: bool
    """Whether it ended the turn by itself."""


class Answerer:
    """A vision-language model that answers greedily, in bfloat16 on a GPU and in 32 bits on a CPU."""

    def __init__(self, source: str, max_new_tokens: int) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = torch.bfloat16 if self.device == "cuda" else torch.float32
        self.processor = AutoProcessor.from_pretrained(source)
        self.processor.tokenizer.padding_side = "left"  # the answer begins where the prompt ends, in every row
        self.model = AutoModelForImageTextToText.from_pretrained(source, dtype=self.dtype).to(self.device).eval()
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
        self._ends = sorted({*ends, self.processor.tokenizer.eos_token_id} - {None})
        pad = self.processor.tokenizer.pad_token_id
        # Greedy whatever the model's own generation settings say; checkpoints of a training may have the cache off.
        self._settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=self._ends,
            pad_token_id=self._ends[0] if pad is None else pad,
            use_cache=True,
        )
        self.model.config.use_cache = True
        self.model.generation_config = self._settings
        self._room = self.model.config.get_text_config().max_position_embeddings - max_new_tokens

    @property
    def protocol(self) -> dict[str, Any]:
        """What the answers depend on beside the rows and the weights."""
        from importlib.metadata import version

        return {
            "decoding": "greedy",
            "max_new_tokens": self._settings.max_new_tokens,
            "end_tokens": self._ends,
            "commit": getattr(self.model.config, "_commit_hash", None),
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": self.device,
            "versions": {name: version(name) for name in ("torch", "transformers", "medcurate")},
        }

    def question(self, row: int, fields: Mapping[str, Any]) -> Question:
        """A row made ready. Raises ValueError or OSError with what is wrong with it."""
        prompt: Prompt = build_prompt(fields, self.processor.image_processor.patch_size)
        text = self.processor.apply_chat_template(prompt.messages, add_generation_prompt=True, tokenize=False)
        return Question(row, str((fields["extra_info"] or {}).get("id")), text, prompt.pictures)

    def answers(self, questions: Sequence[Question]) -> list[Answer | str]:
        """The answer to each, or why there is none; a batch that the GPU's memory cannot hold is halved."""
        import torch

        if not questions:
            return []
        problem, inputs = self._encode(questions)
        if problem:
            # One row is at fault: asked one by one, it is found.
            return [problem] if len(questions) == 1 else [self.answers([question])[0] for question in questions]
        try:
            with torch.inference_mode():
                output = self.model.generate(**inputs.to(self.device), generation_config=self._settings)
        except torch.OutOfMemoryError:
            if len(questions) == 1:
                return ["the GPU has too little memory for this row alone"]
            torch.cuda.empty_cache()
            half = len(questions) // 2
            return [*self.answers(questions[:half]), *self.answers(questions[half:])]
        return [self._answer(said) for said in output[:, inputs["input_ids"].shape[1] :].tolist()]

    def _encode(self, questions: Sequence[Question]) -> tuple[str, Any]:
        """What is wrong, or "", and the inputs of the model."""
        pictures = [picture for question in questions for picture in question.pictures]
        texts = [question.text for question in questions]
        try:
            inputs = self.processor(text=texts, images=pictures or None, padding=True, return_tensors="pt")
        except Exception as error:  # noqa: BLE001 - processors raise nearly anything; the row says so
            return _reason(error), None
        longest, new = int(inputs["attention_mask"].sum(dim=1).max()), self._settings.max_new_tokens
        if longest > self._room:
            room = self._room + new
            return f"{longest} tokens of prompt and {new} new ones are more than the {room} the model can hold", None
        return "", inputs

    def _answer(self, said: list[int]) -> Answer:
        end = next((place for place, token in enumerate(said) if token in self._ends), None)
        spoken = said if end is None else said[:end]
        response = self.processor.tokenizer.decode(spoken, skip_special_tokens=True)
        return Answer(response, len(spoken) + (end is not None), end is not None)


def answer_rows(
    source: str, data: Path, answers: Path, *, max_new_tokens: int, batch_size: int, limit: int | None
) -> None:
    """Append an answer, or what was wrong, for each row that has none yet."""
    import pyarrow.parquet as pq

    header, known = read_answers(answers)
    with pq.ParquetFile(data) as file:
        rows = min(file.metadata.num_rows, limit or file.metadata.num_rows)
    left = unanswered(known, rows)
    if not left:
        return
    answerer = Answerer(source, max_new_tokens)
    if header and header["commit"] != answerer.protocol["commit"]:
        raise SystemExit(f"{answers} holds answers of another commit of {source}: {header['commit']}; move it away")
    with _appended(answers) as journal:
        if not header:
            _write(journal, [{"protocol": answerer.protocol}])
        done = rows - len(left)
        print(f"answered {done} of {rows}", flush=True)
        for batch in _batches(data, left, batch_size):
            _write(journal, _answer_batch(answerer, batch))
            done += len(batch)
            print(f"answered {done} of {rows}", flush=True)


def _answer_batch(answerer: Answerer, batch: Sequence[tuple[int, dict[str, Any]]]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    questions = []
    for row, fields in batch:
        try:
            questions.append(answerer.question(row, fields))
        except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on damaged files; the row says so
            lines.append({"row": row, "id": str((fields["extra_info"] or {}).get("id")), "error": _reason(error)})
    for question, answer in zip(questions, answerer.answers(questions), strict=True):
        said = {"error": answer} if isinstance(answer, str) else answer._asdict()
        lines.append({"row": question.row, "id": question.id, **said})
    return lines


def _reason(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:500]


def _batches(data: Path, left: Sequence[int], size: int) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """The rows of these numbers, ``size`` at a time; never more of the file in memory than one of its row groups."""
    import pyarrow.parquet as pq

    wanted, batch, number = set(left), [], 0
    with pq.ParquetFile(data) as file:
        for table in file.iter_batches(batch_size=size, columns=["prompt", "images", "extra_info"]):
            for place in range(table.num_rows):
                number += 1
                if number in wanted:
                    batch.append((number, table.slice(place, 1).to_pylist()[0]))
                if len(batch) == size:
                    yield batch
                    batch = []
            if number >= left[-1]:
                break
    if batch:
        yield batch


def _appended(path: Path) -> IO[bytes]:
    """Open for appending, without the half line that a killed process may have left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        whole = path.read_bytes().rpartition(b"\n")
        os.truncate(path, len(whole[0]) + len(whole[1]))
    return path.open("ab")


def _write(file: IO[bytes], lines: Sequence[Mapping[str, Any]]) -> None:
    file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    file.flush()
    os.fsync(file.fileno())


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and answer."""
    parser = argparse.ArgumentParser(prog="python -m curate.evals.answer", description="Let a model answer rows.")
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--max-new-tokens", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args(arguments)
    answer_rows(
        given.model,
        given.data,
        given.answers,
        max_new_tokens=given.max_new_tokens,
        batch_size=given.batch_size,
        limit=given.limit,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
