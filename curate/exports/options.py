"""The formats one can export to, and what each can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from curate.corpus import Kind, UserError
from curate.exports.markers import has_marker
from curate.rewards.prompt import DEFAULT_SYSTEM_PROMPT


@dataclass(frozen=True)
class Format:
    """An export format."""

    kinds: tuple[Kind, ...]
    """Kinds of samples it can hold; selected samples of others are counted and left out."""
    images: tuple[str, ...]
    """Ways to give pictures, the default first: path (files under ``images/``), base64, embed (bytes in the row)."""
    val_fraction: float = 0.0
    """Default share of validation rows."""
    chunked: bool = False
    """Whether documents are cut to a token budget."""
    prompted: bool = False
    """Whether rows carry a system prompt of our own."""


FORMATS: Final[dict[str, Format]] = {
    "image-caption": Format(("image_caption",), ("path", "base64")),
    "interleaved": Format(("interleaved", "image_caption"), ("path", "base64")),
    "llamafactory-sft": Format(("conversation",), ("path",)),
    "llamafactory-cpt": Format(("image_caption", "interleaved"), ("path",), chunked=True),
    "verl": Format(("query",), ("embed", "path"), val_fraction=0.1, prompted=True),
    "jsonl": Format(("image_caption", "interleaved", "conversation", "query"), ("path", "base64")),
}


@dataclass(frozen=True)
class ExportOptions:
    """What can be chosen about an export. None stands for the format's default."""

    images: str | None = None
    """path, base64 or embed; see :class:`Format`."""
    val_fraction: float | None = None
    """Share of the picture groups that go to validation, 0 <= share < 1."""
    seed: int | None = None
    """Seed of the split; None for that of the selection's policy, else 0."""
    max_tokens: int | None = None
    """Token budget of a chunk, text and pictures together, for formats that cut documents; 8192 by default."""
    system_prompt: str | None = None
    """System message for verl rows whose sample has none; empty for no message."""
    min_score: float = 3.0
    """Judged samples with a lower mean score (0 to 5) are dropped."""
    where: str | None = None
    """SQL-like condition over the fact columns."""
    require_verdict: bool = False
    """Drop samples that no judge has scored."""
    declared_deidentified: tuple[str, ...] = ()
    """Sources whose DICOM files the user declares to identify nobody, beside those declared to the judge."""
    ignore_rules: tuple[str, ...] = ()
    """Names of selection rules that do not apply."""
    selection: str | None = None
    """Decisions of ``curate select`` to go by, in the place of the five fields above."""

    def resolved(self, format_name: str) -> ExportOptions:
        """The same with the defaults of the format; UserError for an unknown format or an option it does not have."""
        if format_name not in FORMATS:
            raise UserError(f"there is no export format {format_name!r}; there are: {', '.join(FORMATS)}")
        target = FORMATS[format_name]
        images = target.images[0] if self.images is None else self.images
        if images not in target.images:
            raise UserError(f"--images {images} is not possible with {format_name}; it has: {', '.join(target.images)}")
        val_fraction = target.val_fraction if self.val_fraction is None else self.val_fraction
        if not 0 <= val_fraction < 1:
            raise UserError(f"--val-fraction is {val_fraction:g}; it must be at least 0 and below 1")
        seed = 0 if self.seed is None else self.seed
        if not -(2**63) <= seed < 2**63:
            raise UserError(f"--seed is {seed}; it must fit into 64 bits")
        if self.max_tokens is not None and not target.chunked:
            raise UserError(f"--max-tokens cuts documents for pretraining; {format_name} does not cut its rows")
        max_tokens = 8192 if self.max_tokens is None else self.max_tokens
        if max_tokens < 1024:
            raise UserError(f"--max-tokens is {max_tokens}; at least 1024 are needed: a picture takes up to 600")
        if self.system_prompt is not None and not target.prompted:
            raise UserError(f"--system-prompt is for verl; {format_name} keeps the samples' own system messages")
        system_prompt = DEFAULT_SYSTEM_PROMPT if self.system_prompt is None else self.system_prompt
        if has_marker(system_prompt):
            raise UserError("--system-prompt must not contain <image>, <video>, <audio> or control tokens")
        return ExportOptions(
            images=images,
            val_fraction=val_fraction,
            seed=seed,
            max_tokens=max_tokens if target.chunked else None,
            system_prompt=system_prompt if target.prompted else None,
            min_score=self.min_score,
            where=self.where,
            require_verdict=self.require_verdict,
            declared_deidentified=self.declared_deidentified,
            ignore_rules=self.ignore_rules,
            selection=self.selection,
        )
