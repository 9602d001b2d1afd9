"""wire -> Sample -> wire is the identity, for every format and through the Arrow columns on disk."""

import base64
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pictures import distinct

from curate.corpus import Corpus, Image, Origin, Sample, from_table, to_table
from curate.exports.records import to_record
from curate.schemas import FORMATS
from curate.sources.convert import to_sample
from curate.sources.images import Intake, inline_prefix, intake_bytes, intake_inline

NAMES = [f"images/{number}.png" for number in range(6)]

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
filled = st.one_of(
    words.filter(lambda text: bool(text.strip())), st.just("Use the <image> tag."), st.just("发现结节 <image>")
)
prose = filled.map(lambda text: text.replace("<image>", "picture"))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
RESERVED = {
    name for model in FORMATS.values() for field, info in model.model_fields.items() for name in (field, info.alias)
}
extras = st.dictionaries(
    words.filter(lambda name: name not in RESERVED), json_values, max_size=3
) | st.fixed_dictionaries({"source": filled, "license": st.just("CC-BY-4.0")})


@cache
def picture(number: int) -> str:
    return base64.b64encode(distinct(number)).decode()


inline = st.builds(
    lambda number, prefix: prefix + picture(number), st.integers(0, 3), st.sampled_from(["", "data:image/png;base64,"])
)
references = st.sampled_from(NAMES) | inline


def many(images: list[str]) -> st.SearchStrategy[Any]:
    """A reference field: a list, or a bare string when it is one."""
    return st.sampled_from([images, images[0]] if len(images) == 1 else [images])


@st.composite
def captions(draw: st.DrawFn) -> dict[str, Any]:
    images = draw(st.lists(references, min_size=1, max_size=3))
    return draw(extras) | {"image": draw(many(images)), "text": draw(filled)}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    slot = st.one_of(
        st.tuples(filled, st.none()),
        st.tuples(st.none(), st.fixed_dictionaries({"image_base64": inline}, optional={"matched_sim": st.just(0.5)})),
        st.tuples(st.none(), st.fixed_dictionaries({"image": st.sampled_from(NAMES)})),
    )
    slots = draw(st.lists(slot, min_size=1, max_size=5))
    return draw(extras) | {"texts": [text for text, _ in slots], "image_info": [image for _, image in slots]}


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    images: list[str] = []
    turns: list[dict[str, Any]] = []
    if draw(st.booleans()):
        turns.append({"from": "system", "value": draw(prose)})
    for position in range(2 * draw(st.integers(1, 3))):
        shown = draw(st.lists(references, max_size=2)) if position % 2 == 0 else []
        images += shown
        pieces = ["<image>"] * len(shown) + [draw(prose)]
        value = draw(st.sampled_from(["", "\n", " "])).join(draw(st.permutations(pieces)))
        turn = {"from": ("human", "gpt")[position % 2], "value": value}
        turns.append(turn | draw(st.sampled_from([{}, {"weight": 1}])))
    record = draw(extras) | {"conversations": turns}
    return record | {"image": draw(many(images))} if images else record


@st.composite
def queries(draw: st.DrawFn) -> dict[str, Any]:
    images = draw(st.lists(references, max_size=2))
    marked = bool(images) and draw(st.booleans())
    query = "<image> " * len(images) * marked + draw(prose)
    record = draw(extras) | {"query": query}
    if images:
        record["images"] = draw(many(images))
    if draw(st.booleans()):
        record["system"] = draw(prose)
    if draw(st.booleans()):
        options = draw(st.lists(filled, min_size=2, max_size=5, unique=True))
        table = dict(zip("ABCDE", options, strict=False))
        return record | {
            "query_type": "choice",
            "answer": draw(st.sampled_from(list(table))),
            "choices": draw(st.sampled_from([options, table])),
        }
    answer = st.one_of(filled, st.integers(0, 99), st.floats(0, 1), st.lists(filled, min_size=1, max_size=3))
    return record | {"query_type": draw(st.sampled_from(["exact", "jaccard", "numeric"])), "answer": draw(answer)}


@st.composite
def verl_rows(draw: st.DrawFn) -> dict[str, Any]:
    cell = st.one_of(
        st.sampled_from(NAMES),
        st.builds(lambda number: {"bytes": distinct(number)}, st.integers(0, 3)),
        st.builds(lambda number: {"bytes": distinct(number), "path": None}, st.integers(0, 3)),
        st.sampled_from([{"image": NAMES[0]}, {"path": NAMES[1], "bytes": None}]),
    )
    cells = draw(st.lists(cell, max_size=2))
    prompt = [{"role": "system", "content": draw(prose)}] if draw(st.booleans()) else []
    prompt.append({"role": "user", "content": "<image>" * len(cells) + draw(prose)})
    truth = draw(st.one_of(filled, st.lists(filled, min_size=1, max_size=3), st.integers(0, 9)))
    record = {
        "data_source": draw(filled),
        "prompt": prompt,
        "ability": "medical",
        "reward_model": {"style": "rule", "ground_truth": truth} | draw(st.sampled_from([{}, {"tolerance": 0.1}])),
        "extra_info": draw(st.dictionaries(words, json_values, max_size=2))
        | {"query_type": "jaccard", "split": "train"},
    }
    return record | ({"images": cells} if cells or draw(st.booleans()) else {})


def whole_samples() -> st.SearchStrategy[dict[str, Any]]:
    """Records of the sample format, made from the other formats' samples."""
    made = st.one_of(
        st.tuples(st.just("image-caption"), captions()),
        st.tuples(st.just("interleaved"), documents()),
        st.tuples(st.just("conversation"), conversations()),
        st.tuples(st.just("query"), queries()),
    )
    return made.map(lambda pair: to_record(read(*pair), "sample", data_uri))


def read(format_name: str, record: dict[str, Any]) -> Sample:
    corpus = read.corpus  # type: ignore[attr-defined]

    def intake(reference: str | bytes) -> Intake:
        if isinstance(reference, bytes):
            return intake_bytes(reference, spelling="", corpus=corpus)
        if (prefix := inline_prefix(reference)) is not None:
            return intake_inline(reference, prefix, corpus=corpus)
        number = NAMES.index(reference)
        image = Image(
            f"{number:064x}", "png", 48, 48, 1, stored=False, root=0, path=reference, mtime_ns=1, name=reference
        )
        return Intake((image,), spelling=None)

    model = FORMATS[format_name].model_validate(record)
    return to_sample(format_name, model, read=intake, folder="folder", origin=Origin("file", 1))


def data_uri(image: Image) -> str:
    if image.path is not None:
        return image.path
    data = Corpus(read.corpus, None).image_bytes(image)  # type: ignore[attr-defined, arg-type]
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.fixture(autouse=True, scope="module")
def _corpus(tmp_path_factory: pytest.TempPathFactory) -> None:
    read.corpus = tmp_path_factory.mktemp("corpus")  # type: ignore[attr-defined]


CASES: dict[str, Callable[[], st.SearchStrategy[dict[str, Any]]]] = {
    "image-caption": captions,
    "interleaved": documents,
    "conversation": conversations,
    "query": queries,
    "verl": verl_rows,
    "sample": whole_samples,
}


@pytest.mark.parametrize("format_name", CASES)
def test_wire_to_sample_to_wire_is_the_identity(format_name: str) -> None:
    @settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(CASES[format_name]())
    def check(record: dict[str, Any]) -> None:
        sample = read(format_name, record)
        (again,) = from_table(to_table([sample]))
        assert again == sample
        assert to_record(again, format_name, data_uri, restore=True) == record

    check()


SEED = Path(__file__).parents[1] / "data" / "recipe_records.json"


def test_the_published_recipe_records_are_accepted_as_printed() -> None:
    """The JSON examples of the CPT, SFT and RLVR recipe that the formats come from."""
    for format_name, record in json.loads(SEED.read_text()):
        text = json.dumps(record).replace("BASE64_ENCODED_IMAGE_DATA", picture(0))
        for name in ("/path/to/medical_image.png", "/path/to/the/image1", "/path/to/the/image2", "/path/to/the/image"):
            text = text.replace(f'"{name}"', f'"{NAMES[len(name) % 6]}"')
        named = json.loads(text)
        assert to_record(read(format_name, named), format_name, data_uri, restore=True) == named


@pytest.mark.parametrize("format_name", ["image-caption", "interleaved", "sample"])
def test_a_literal_placeholder_is_prose(format_name: str) -> None:
    literal = "HTML has an <image> tag."
    record: dict[str, Any] = {
        "image-caption": {"image": NAMES[0], "text": literal},
        "interleaved": {"texts": [literal, None], "image_info": [None, {"image": NAMES[0]}]},
        "sample": {
            "kind": "conversation",
            "turns": [
                {"role": "user", "parts": [{"text": literal}]},
                {"role": "assistant", "parts": [{"text": "Yes."}]},
            ],
        },
    }[format_name]
    sample = read(format_name, record)
    assert literal in list(sample.texts())
    assert len(sample.images) == (0 if format_name == "sample" else 1)
