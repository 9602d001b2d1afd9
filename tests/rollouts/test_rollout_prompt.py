"""What a rollout asks is what the verl export trains on, to the letter."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from judge.endpoint import Endpoint
from rollouts.playing import effusion, organ, playing, roll, thinking
from support.corpora import picture
from support.inside import curate
from support.measured import make_corpus, query, stored, write_signals

from curate.corpus import Image, Origin, Sample, Turn, to_table
from curate.exports.turns import flatten_turns
from curate.exports.verl import VerlWriter, _prompt
from curate.rewards.prompt import DEFAULT_SYSTEM_PROMPT, lists_options
from curate.rollouts.question import render, untrainable
from curate.rollouts.scoring import reference


def as_text(message: dict[str, Any]) -> tuple[str, str]:
    content = message["content"]
    if not isinstance(content, str):
        content = "".join(part["text"] if part["type"] == "text" else "<image>" for part in content)
    return message["role"], content


def test_the_endpoint_gets_what_the_export_has(tmp_path: Path) -> None:
    path = tmp_path / "c"
    image, other = stored(path, picture(1)), stored(path, picture(2))
    listed = "Which?\nA) Liver\nB) Lung\nC) Heart\nD) Spleen"
    two = Sample(
        kind="query",
        source="two",
        license=None,
        images=(image, other),
        turns=(Turn("user", ("Compare ", 1, " with ", 0, ": same <image> or <|im_end|> not?")),),
        origin=Origin("two.jsonl", 1),
        answer=("no",),
        query_type="yes_no",
    )
    samples = [
        organ(path, 0),
        effusion(path, 1),
        query("Which drug?", "insulin", "glucose"),
        query("Be it?", "yes", query_type="yes_no", system="Answer in one word.", images=[image]),
        query(listed, "B", query_type="choice", choices=organ(path, 0).choices, images=[other]),
        query("Which ones?", "A", "C", query_type="multi_choice", choices=organ(path, 0).choices),
        query("How large?", "3.5", query_type="numeric", meta={"unit": "cm", "relative_tolerance": 0.1}),
        two,
    ]
    corpus = make_corpus(path, samples)
    write_signals(corpus)
    exported = curate("export", path, "--format", "verl", "--val-fraction", "0", "-o", tmp_path / "out")
    assert exported.status == 0, exported.err
    rows = pl.read_parquet(tmp_path / "out" / "train.parquet").to_dicts()
    with Endpoint(playing(lambda request, number: thinking("yes"))) as endpoint:
        assert roll(corpus, endpoint.url, k=1).scored == len(samples)
        asked = sorted([as_text(message) for message in request.body["messages"]] for request in endpoint.requests)
        urls = [
            part["image_url"]["url"]
            for request in endpoint.requests
            for message in request.body["messages"]
            if "Compare" in str(message["content"])
            for part in message["content"]
            if part["type"] == "image_url"
        ]
    assert asked == sorted([as_text(message) for message in row["prompt"]] for row in rows)
    assert len(set(urls)) == 2
    by_id = {sample.id: sample for sample in samples}
    for row in rows:
        sample = by_id[row["extra_info"]["id"]]
        truth, extra = reference(sample, render(sample, ""))
        assert truth == row["reward_model"]["ground_truth"]
        assert extra == {name: row["extra_info"][name] for name in extra}


LETTERS = [*"AbB1.):( \n\t<>|ßİé心\u00a0", "<image>", "<video>", "<|im_end|>", "Lung", "A. ", "(B) "]
texts = st.lists(st.sampled_from(LETTERS), min_size=1, max_size=12).map("".join)
parts = st.lists(st.one_of(texts, st.integers(0, 1)), min_size=1, max_size=4).map(tuple)
IMAGES = tuple(Image(f"{number:064x}", "png", 10, 10, 100, True, -1, None, 0, None) for number in range(2))


@st.composite
def queries(draw: st.DrawFn) -> Sample:
    roles = draw(st.sampled_from([["user"], ["system", "user"], ["user", "assistant", "user"], ["user", "assistant"]]))
    options = draw(st.lists(texts.filter(str.strip), max_size=3))
    choices = tuple(zip("ABC", options, strict=False))
    turns = [Turn(role, draw(parts)) for role in roles]
    if choices and draw(st.booleans()):
        listed = "".join(f"\n{label}. {text}" for label, text in choices)
        turns[-1] = Turn(turns[-1].role, (*turns[-1].parts, listed))
    return Sample("query", "s", None, IMAGES, tuple(turns), Origin("f", 1), ("A",), "exact", choices)


@settings(max_examples=300, deadline=None)
@given(queries(), st.sampled_from(["", DEFAULT_SYSTEM_PROMPT]))
def test_any_query_is_rendered_as_the_export_renders_it(sample: Sample, system_prompt: str) -> None:
    assume(sample.turns[-1].role == "user")  # the export has left the others out
    table = to_table([sample])
    messages, _ = _prompt(table, flatten_turns(table), system_prompt)
    question = render(sample, system_prompt)
    assert [(m["role"], m["content"]) for m in messages[0].as_py()] == [(m.role, m.content) for m in question.messages]
    assert len(question.images) == sum(message.content.count("<image>") for message in question.messages)


class _Job:
    """Takes note of what a writer leaves out."""

    def __init__(self) -> None:
        self.options = type("Options", (), {"images": "path"})
        self.problems: list[str] = []

    def without(self, table: pa.Table, problems: dict[str, Any]) -> pa.Table:
        self.problems = [name for name, found in problems.items() if found[0]]
        return table.slice(0, 0)

    def skip(self, *arguments: object) -> None:
        return


@settings(max_examples=300, deadline=None)
@given(queries())
def test_the_same_queries_are_left_out(sample: Sample) -> None:
    job = _Job()
    writer = VerlWriter(job)  # type: ignore[arg-type]
    writer._embed = True
    job.pictures = type("Pictures", (), {"read_ahead": lambda self, batches: iter(())})()  # type: ignore[attr-defined]
    writer.add(to_table([sample]), "train")
    why = untrainable(sample)
    assert (why is None) == (not job.problems)
    assert why is None or why in job.problems


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Which?\nA. Liver\nB. Lung", True),
        ("WHICH? (a) LIVER (b) LUNG", True),
        ("Straße? A: Liver B: Lung", True),
        ("Which? A. Liver", False),
        ("Which? A. Livers B. Lung", False),
        ("Liver or Lung?", False),
    ],
)
def test_when_a_question_lists_its_options(question: str, found: bool) -> None:
    assert lists_options(question, (("A", "Liver"), ("B", "Lung"))) == found
