"""The tables of a rollout run: one facts shard and one shard of responses for each samples shard.

Both are made from the journal alone once a shard's answers are there, so that no response is held in memory meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import Sample, UserError, atomic_file, shard_fingerprint, write_shard
from curate.judge.journal import Journal
from curate.rewards.groups import has_spread
from curate.rollouts.options import RolloutOptions
from curate.rollouts.plan import NOT_CHOSEN, NOT_REACHED, Attempt, Planner, Row, known_answer, queries
from curate.rollouts.question import Question
from curate.rollouts.scoring import Scored, reference, referenced, score
from curate.rollouts.tables import FACTS, RESPONSES, responses_path

FORMAT: Final = 1
UNFINISHED: Final = ":unfinished"
"""Ends the fingerprint of a shard with queries that the next run should ask again."""

_BUFFERED: Final = 8 << 20
"""Characters of responses in memory before they are written."""


def fingerprint_of(shard: Path, options: RolloutOptions, picked: frozenset[str] | None) -> str:
    """What a facts shard has to be made from to be up to date. ``picked``: ids that are asked about; None for all."""
    samples = shard_fingerprint(shard)
    if samples is None:
        raise UserError(f"{shard} cannot be read as samples of this corpus: ingest again")
    setup = [
        FORMAT,
        samples,
        options.settings,
        options.k,
        options.text_only,
        options.shuffle_options,
        options.system_prompt,
        sorted(options.declared_deidentified),
        None if picked is None else sorted(picked),
    ]
    return hashlib.sha256(orjson.dumps(setup)).hexdigest()


def is_current(target: Path, fingerprint: str) -> bool:
    """Whether both tables of a shard are there and up to date."""
    return {shard_fingerprint(target), shard_fingerprint(responses_path(target))} == {fingerprint}


def read_facts(target: Path, shard: Path) -> pa.Table | None:
    """A facts shard; None when it is damaged behind a fingerprint that is whole. ``shard`` holds the samples."""
    with pq.ParquetFile(shard) as file:
        ids = file.read(columns=["id"])
    try:
        with pq.ParquetFile(target) as file:
            table = file.read()
        table.validate(full=True)
    except (OSError, pa.ArrowException):
        return None
    return table if table.schema.equals(FACTS) and table.select(["id"]).equals(ids) else None


def write_run_shard(
    target: Path,
    shard: Path,
    planner: Planner,
    journal: Journal,
    options: RolloutOptions,
    *,
    picked: frozenset[str] | None,
    problems: Mapping[int, Row],
    fingerprint: str,
) -> pa.Table:
    """Score the answers to the queries of a samples shard and write both tables; the facts.

    ``problems`` says by place what went wrong with a query. Raises UserError when a table cannot be written.
    """
    with pq.ParquetFile(shard) as file:
        ids = file.read(columns=["id"]).column("id")
    columns: dict[str, list[Any]] = {name: [None] * len(ids) for name in FACTS.names[1:]}
    columns["rollout_status"] = ["not_asked"] * len(ids)
    columns["rollout_reason"] = ["not_a_query"] * len(ids)
    again, known = False, len(journal) > 0
    try:
        with _Responses(responses_path(target), fingerprint) as responses:
            for place, sample in queries(shard):
                row = planner.settled(sample, picked)
                answers: list[_Answer] = []
                if row is NOT_CHOSEN and known and planner.settled(sample, None) is None:
                    # It may have been asked about when more was chosen; what was paid for counts.
                    answers = _answers(planner.attempts(sample), journal, sample, all_or_none=True)
                    row = Row("scored", "") if answers else row
                elif row is None:
                    answers = _answers(planner.attempts(sample), journal, sample)
                    row = _row(len(answers), options.k, problems.get(place))
                responses.add(sample, answers)
                again = again or row.again
                facts = {"rollout_status": row.status, "rollout_reason": row.reason or None}
                if answers:
                    facts |= _facts(sample, answers) | {"rollout_model": options.endpoint.model}
                for name, value in facts.items():
                    columns[name][place] = value
        table = pa.table({"id": ids, **columns}, schema=FACTS)
        write_shard(target, table, fingerprint + (UNFINISHED if again else ""))
    except OSError as error:
        raise UserError(f"{target}: {error.strerror or error}; the answers are in the journal, run again") from None
    return table


def _row(there: int, wanted: int, problem: Row | None) -> Row:
    if there == wanted:
        return Row("scored", "")
    row = problem or NOT_REACHED
    return Row(row.status, f"{row.reason} ({there} of {wanted} answers)" if there else row.reason, row.again)


class _Answer:
    """An answer from the journal, scored."""

    def __init__(self, attempt: Attempt, entry: dict[str, Any], scored: Scored) -> None:
        self.number = attempt.number
        self.question: Question = attempt.question
        self.response: str = entry["response"]
        self.finish: str | None = entry.get("finish")
        self.tokens: int | None = (entry.get("tokens") or [None, None])[1]
        self.model: str | None = entry.get("model") or entry.get("asked")
        self.scored = scored


def _answers(attempts: list[Attempt], journal: Journal, sample: Sample, *, all_or_none: bool = False) -> list[_Answer]:
    """Those of the answers that are in the journal."""
    found = []
    for attempt in attempts:
        answer = _answer(journal, attempt, sample)
        if answer is not None:
            found.append(answer)
        elif all_or_none:
            return []
    return found


def _answer(journal: Journal, attempt: Attempt, sample: Sample) -> _Answer | None:
    entry = known_answer(journal, attempt.key)
    if entry is None:
        return None
    return _Answer(attempt, entry, score(entry["response"], sample, attempt.question))


def _facts(sample: Sample, answers: list[_Answer]) -> dict[str, Any]:
    accuracies = [answer.scored.accuracy for answer in answers]
    right = sum(answer.scored.right for answer in answers)
    return {
        "rollout_k": len(answers),
        "rollout_correct": right,
        "rollout_mean_accuracy": sum(accuracies) / len(accuracies),
        "rollout_pass_at_1": right / len(answers),
        "rollout_informative": has_spread(accuracies),
        "rollout_unparsed": sum(not answer.scored.read for answer in answers),
        "rollout_cut_off": sum(answer.finish == "length" for answer in answers),
        "rollout_alike": len(answers) > 1 and len({answer.response for answer in answers}) == 1,
        "rollout_chance": chance_of(sample),
    }


def chance_of(sample: Sample) -> float | None:
    """How likely a guess among the possible answers is right; None when they are not known."""
    if sample.query_type == "yes_no":
        return 0.5
    if sample.query_type == "choice" and sample.choices:
        # Several references are equally right: a guess may hit any of them.
        return len(referenced(sample.answer, sample.choices)) / len(sample.choices)
    if sample.query_type == "multi_choice" and sample.choices:
        return 1.0 / ((1 << len(sample.choices)) - 1)
    return None


class _Responses:
    """Writes responses as they come, through a temporary file."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._file = atomic_file(path)
        self._schema = RESPONSES.with_metadata({"curate.fingerprint": fingerprint})
        self._rows: list[dict[str, Any]] = []
        self._characters = 0

    def __enter__(self) -> _Responses:
        self._writer = pq.ParquetWriter(self._file.__enter__(), self._schema, compression="zstd")
        return self

    def add(self, sample: Sample, answers: list[_Answer]) -> None:
        """Write the answers to a query."""
        for answer in answers:
            self._rows.append(
                {
                    "id": sample.id,
                    "index": answer.number,
                    "response": answer.response,
                    "accuracy": answer.scored.accuracy,
                    "score": answer.scored.score,
                    "parsed": answer.scored.read,
                    "finish": answer.finish,
                    "tokens": answer.tokens if answer.tokens is not None and answer.tokens < 1 << 31 else None,
                    "reference": reference(sample, answer.question)[0],
                    "model": answer.model,
                }
            )
            self._characters += len(answer.response) + 200
        if self._characters >= _BUFFERED:
            self._write()

    def _write(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._characters = [], 0

    def __exit__(self, *failure: Any) -> bool | None:
        try:
            if failure[0] is None:
                self._write()
            self._writer.close()
        except BaseException as error:
            self._file.__exit__(type(error), error, error.__traceback__)
            raise
        return self._file.__exit__(*failure)
