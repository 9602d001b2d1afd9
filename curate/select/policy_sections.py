"""The sections of a policy: what each may ask for. Every field's docstring is its description in the JSON Schema."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curate.corpus import Kind

Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
Share = Annotated[float, Field(ge=0, le=1)]
Score = Annotated[float, Field(ge=0, le=5)]
MOST_COPIES = 1000
"""Largest `max_copies` of a mixture."""
Copies = Annotated[float, Field(ge=1, le=MOST_COPIES)]
Dimension = Literal["medical_correctness", "fluency", "relevance", "completeness", "practicality"]


class Section(BaseModel):
    """A part of a policy: unknown fields are errors, and values are never coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


class DropRule(Section):
    """A named condition under which samples are dropped, with the reason that will be shown."""

    name: Name
    """What the rule is called in decisions and reports, in snake_case."""
    when: str
    """Condition in SQL over the fact columns (`curate select --columns` lists them). Samples for which it is true are
    dropped; where a column it needs is null, they are not."""
    reason: str
    """Sentence shown for a dropped sample. `{column}` is replaced by the sample's value."""
    kinds: list[Kind] | None = None
    """Kinds of samples that the rule is for; null for all."""
    sources: list[str] | None = None
    """Subsets that the rule is for; null for all."""
    basis: str | None = None
    """Where the threshold comes from: a paper, a trainer's limit, a measurement."""


class JudgeGate(Section):
    """What a judge must have said for a sample to stay."""

    require: bool = False
    """Whether samples without a score are dropped. Otherwise they stay, and are counted."""
    min_score: Score = 3.0
    """Lowest mean score, 0 to 5."""
    min: dict[Dimension, Annotated[int, Field(ge=0, le=5)]] = {}
    """Lowest score by dimension. A dimension that the judge left out (relevance without an image) is not held against
    the sample."""
    drop_verdicts: list[Literal["accept", "review", "reject"]] = ["reject"]
    """Verdicts that drop a sample."""
    drop_defects: list[str] = []
    """Defects that drop a sample whatever its scores, as the rubric names them."""


class SubsetGate(Section):
    """Remove subsets that systematically fail, whole, on the evidence of a judged random sample.

    The share of passing samples is bounded by a Wilson score interval (Wilson 1927): a subset is removed only when
    the upper bound lies below `min_pass_share`, so that an unlucky small sample removes nothing.
    """

    passes: str = "judge_score >= 3"
    """Condition in SQL that a judged sample passes by."""
    min_pass_share: Share = 0.7
    """Share of passing samples that a subset must reach."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Confidence of the two-sided interval."""
    min_judged: Annotated[int, Field(ge=1)] = 30
    """Judged samples below which nothing is decided about a subset."""
    undecided: Literal["keep", "drop"] = "keep"
    """What happens to subsets with too few judged samples, or with an interval that includes `min_pass_share`."""


class Benchmark(Section):
    """A benchmark that the training data must not contain."""

    name: str
    """mmmu-health, vqa-rad, slake, path-vqa, pmc-vqa, omnimedvqa, medxpertqa, or any name with `format` given."""
    path: str
    """File or folder with the benchmark in its published layout; relative to the policy file."""
    format: str | None = None
    """Loader, when `name` is not one of the seven; `generic` reads records in curate's own formats."""
    split: str | None = None
    """Only rows of this split, where the layout has splits."""


class ContaminationGate(Section):
    """Drop samples that show a benchmark's picture or ask its question."""

    benchmarks: list[Benchmark]
    """Benchmarks to compare with; no two of one name."""
    image_distance: Annotated[int, Field(ge=0, le=16)] = 4
    """Bits of 64 by which perceptual hashes may differ for pictures to count as the same."""
    question_ngram: Annotated[int, Field(ge=3, le=50)] = 8
    """Words of the n-grams by which questions are compared; shorter questions are compared whole."""
    question_share: Share = 0.7
    """Share of a benchmark question's n-grams that must be found in a sample."""
    drop: list[Literal["image", "question", "both"]] = ["image", "question"]
    """Which hits drop a sample: its picture, its question, or only both from the same benchmark row."""
    short_questions: Literal["keep", "drop"] = "keep"
    """What happens to a sample that shares with a benchmark only a question of fewer words than `question_ngram`
    (`Is this a CT?`), or one that the benchmark itself asks of three pictures or more: such questions are asked of any
    picture."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [benchmark.name for benchmark in self.benchmarks]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two benchmarks are called {twice}; give one another name, and its layout as format")
        return self


class TextDuplicates(Section):
    """Near-duplicate texts, by MinHash and locality-sensitive hashing, confirmed by the exact Jaccard similarity."""

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Jaccard similarity of the shingles at which two texts are duplicates."""
    shingle: Annotated[int, Field(ge=1, le=10)] = 3
    """Words of a shingle."""
    permutations: Annotated[int, Field(ge=16, le=1024)] = 128
    """Hash functions of the MinHash sketch."""
    kinds: list[Kind] = ["image_caption", "interleaved"]
    """Kinds whose texts alone make duplicates."""


class ImageDuplicates(Section):
    """Near-duplicate pictures, by perceptual hash."""

    distance: Annotated[int, Field(ge=0, le=16)] = 4
    """Bits of 64 by which hashes may differ; two more for pictures whose borders were cut, which hash less steadily.
    Every match is confirmed on the pixels."""
    mirrored: bool = True
    """Whether a picture and its mirror image are duplicates."""
    cropped: bool = True
    """Whether a picture and the same without its borders are duplicates."""
    kinds: list[Kind] = ["image_caption"]
    """Kinds whose pictures alone make duplicates; questions about one picture are not duplicates of each other."""


class PairDuplicates(Section):
    """Samples whose pictures and texts are both near-duplicates, each by its own section's measure."""

    kinds: list[Kind] = ["image_caption", "interleaved", "conversation", "query"]
    """Kinds that are compared."""


class Duplicates(Section):
    """Keep the best of each cluster of duplicates: the highest judge score, then resolution, then the longer text."""

    text: TextDuplicates | None = None
    """Drop samples whose text is a near-duplicate, whatever their pictures; null to let them be."""
    image: ImageDuplicates | None = None
    """Drop samples whose pictures are near-duplicates, whatever their text; null to let them be."""
    pair: PairDuplicates | None = PairDuplicates()
    """Drop samples of which both are near-duplicates; null to let them be."""
    across_sources: bool = True
    """Whether samples of different subsets are compared."""


class Band(Section):
    """A range of correct answers out of k, and the share of its queries that is kept."""

    correct: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
    """Fewest and most correct answers."""
    keep: Share = 1.0
    """Share of the band's queries that is kept, chosen by seed."""


class Difficulty(Section):
    """Choose queries by how often a model answers them rightly (`curate rollout`)."""

    k: Annotated[int, Field(ge=1)] | None = None
    """Answers a query that the bands are written for; a run with another number is refused. Null: any number that the
    bands do not exceed."""
    run: str | None = None
    """Name of the rollout run to go by; null for the only one there is."""
    bands: Annotated[list[Band], Field(min_length=1)]
    """What is kept by the number of correct answers; queries in no band are dropped."""
    max_text_only_correct: Annotated[int, Field(ge=0)] | None = None
    """Drop queries that the run without images answered rightly more often: they do not need the picture."""
    text_only_run: str | None = None
    """Name of the rollout run without images; null for the only one there is."""
    unrolled: Literal["keep", "drop"] = "drop"
    """What happens to queries without rollouts."""


class Part(Section):
    """A part of a mixture: which samples, and how large a share of the whole. General-domain data that is replayed to
    keep a model's other abilities is a part like any other."""

    name: str
    """What the part is called in plans and reports."""
    where: str | None = None
    """Condition in SQL over the fact columns; the first part whose condition holds takes a sample. Null: any sample
    that no part before takes, so such a part comes last."""
    sources: list[str] | None = None
    """Subsets that belong to the part; with `where`, samples must satisfy both."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Share of the mixture, relative to the other parts' weights, in `unit`. 0 leaves the part's samples out."""
    max_copies: Copies | None = None
    """Most times that a sample of the part may be repeated; null for the mixture's."""


class Mixture(Section):
    """How much of what: parts by weight, or groups of one column by temperature; planned before anything is written.

    Each part takes its samples in an order that follows from their ids and the seed, until its share is met: every
    share is right to within one sample, and a larger corpus changes few of the choices.
    """

    unit: Literal["samples", "tokens"] = "tokens"
    """What weights and budget are counted in. Tokens include those of the pictures."""
    budget: Annotated[int, Field(ge=1, le=10**15)] | None = None
    """Samples or tokens of the whole; null for as much as the weights allow without exceeding `max_copies`."""
    parts: Annotated[list[Part], Field(min_length=1)] | None = None
    """Parts with their weights. Samples that no part takes are dropped."""
    by: str | None = None
    """In place of `parts`: a column whose values are the groups (source, kind, query_type, modality, body_part,
    meta.FIELD). Samples without a value are a group, too."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """With `by`: a group of n units gets a share proportional to n ** (1 / temperature). 1 leaves shares as they are,
    larger values even them out."""
    balance: str | None = None
    """Within each part, even out the values of this column (as for `by`) as far as the samples reach. A part that is
    taken whole keeps the proportions it has: give a budget that leaves a choice."""
    max_copies: Copies = 1.0
    """Most times that a sample may be repeated to reach a share; 1 repeats none, 1.5 repeats samples that hold half of
    the part's units."""
    shortfall: Literal["stop", "shrink"] = "stop"
    """When a part has too little for its share of the budget: stop and say by how much, or take the largest whole
    that keeps the shares."""
    model: Literal["qwen3-vl", "qwen2.5-vl", "qwen2-vl"] = "qwen3-vl"
    """Whose patch rule counts picture tokens."""
    image_max_pixels: Annotated[int, Field(ge=1)] | None = None
    """Pixels that a trainer scales pictures down to; null for LLaMA-Factory's default, 768 x 768."""


class Split(Section):
    """Training rows and validation rows, apart."""

    val_fraction: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share for validation; null for the export format's default."""
    together: list[str] = [
        *("meta.dicom.patient", "meta.dicom.study", "meta.patient_id", "meta.study_id", "meta.subject_id"),
        *("meta.patient", "meta.study", "meta.PatientID", "meta.StudyInstanceUID"),
    ]
    """Columns whose equal values keep samples on one side, beside shared pictures: patients and studies."""
