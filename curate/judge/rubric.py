"""Rubrics: what the judge is asked, in YAML files that a clinician can read and edit."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from curate.corpus import Kind, UserError

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Score = Annotated[int, Field(ge=0, le=5)]

DIMENSIONS = ("medical_correctness", "fluency", "relevance", "completeness", "practicality")
"""The five dimensions, in the order they are asked. Relevance is that of text to image: text-only samples have none."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Dimension(_Part):
    """One thing that is scored 0 to 5."""

    question: Text
    anchors: dict[int, Text]
    """What each score means; all of 0 to 5."""

    @field_validator("anchors")
    @classmethod
    def _all_scores(cls, anchors: dict[int, str]) -> dict[int, str]:
        if sorted(anchors) != [0, 1, 2, 3, 4, 5]:
            raise ValueError("needs a text for each of the scores 0, 1, 2, 3, 4 and 5, and for nothing else")
        return anchors


class Dimensions(_Part):
    """The five dimensions."""

    medical_correctness: Dimension
    fluency: Dimension
    relevance: Dimension
    completeness: Dimension
    practicality: Dimension


class Defect(_Part):
    """One defect the judge may find."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    severity: Literal["critical", "minor"]
    """A critical defect means that the sample is rejected whatever its scores."""
    definition: Text


class Accept(_Part):
    """Both must hold for a sample to be accepted."""

    mean_at_least: Annotated[float, Field(ge=0, le=5)]
    every_at_least: Score


class Reject(_Part):
    """Either is enough for a sample to be rejected."""

    mean_below: Annotated[float, Field(ge=0, le=5)]
    any_at_most: Annotated[int, Field(ge=-1, le=5)]
    """-1 switches this condition off."""


class Decision(_Part):
    """How accept, review or reject follows from the scores. What is neither accepted nor rejected is to be reviewed."""

    accept: Accept
    reject: Reject

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.reject.mean_below > self.accept.mean_at_least or self.reject.any_at_most >= self.accept.every_at_least:
            raise ValueError("accept and reject overlap: a sample could be both")
        return self


class Rubric(_Part):
    """What the judge is asked about samples of one kind, and how its answer is turned into a decision."""

    kind: Kind
    title: Text
    guidance: Text
    dimensions: Dimensions
    defects: Annotated[list[Defect], Field(min_length=1)]
    decision: Decision

    @field_validator("defects")
    @classmethod
    def _distinct(cls, defects: list[Defect]) -> list[Defect]:
        ids = [defect.id for defect in defects]
        twice = {name for name in ids if ids.count(name) > 1}
        if twice:
            raise ValueError(f"defined twice: {', '.join(sorted(twice))}")
        return defects

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical content: comments, order of keys and layout of the file do not matter."""
        return hashlib.sha256(orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def critical(self) -> frozenset[str]:
        """The ids of the critical defects."""
        return frozenset(defect.id for defect in self.defects if defect.severity == "critical")


def load_rubrics(paths: Iterable[Path] = ()) -> dict[Kind, Rubric]:
    """The built-in rubrics, with those in ``paths`` (files, or folders of .yaml files) put in the place of their kind.

    Raises UserError naming file and field for anything that is not a rubric.
    """
    rubrics: dict[Kind, Rubric] = {}
    for path in sorted((Path(__file__).parent / "rubrics").glob("*.yaml")):
        rubric = _load(path)
        rubrics[rubric.kind] = rubric
    given: dict[Kind, Path] = {}
    for path in _files(paths):
        rubric = _load(path)
        if rubric.kind in given:
            raise UserError(f"{path} and {given[rubric.kind]} are both rubrics for {rubric.kind}: give one of them")
        given[rubric.kind] = path
        rubrics[rubric.kind] = rubric
    return rubrics


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if entry.suffix in (".yaml", ".yml"))
            if not found:
                raise UserError(f"{path} has no .yaml file: --rubric takes a rubric file or a folder of them")
            yield from found
        else:
            yield path


def _load(path: Path) -> Rubric:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"rubric {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"rubric {path} is not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        hint = " (a text with a colon in it needs quotes around it)" if "mapping values" in str(error) else ""
        raise UserError(f"rubric {path} is not valid YAML{hint}: {' '.join(str(error).split())}") from None
    try:
        return Rubric.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"rubric {path}: {field}: {message}{more}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice} is written twice", node.start_mark)
        return mapping
