"""Captions as conversations: an instruction about the images, answered by the caption."""

from __future__ import annotations

from curate.corpus import Part, Sample, Turn
from curate.sources.derive.context import Context
from curate.sources.derive.lineage import child, draw
from curate.sources.rejects import RejectError

_SHARE_STEPS = 2**64


def caption_to_conversation(sample: Sample, context: Context) -> Sample:
    """A user turn with the images and one of the instructions, and the caption as the answer.

    A short caption is asked for with a brief instruction, a long one with a detailed one, as LLaVA-Med does
    (arXiv 2306.00890). Instruction and place of the images depend on the id and the seed alone.
    """
    parts = [part for turn in sample.turns for part in turn.parts]
    pictures: list[Part] = [part for part in parts if not isinstance(part, str)]
    caption = "\n\n".join(part for part in parts if isinstance(part, str))
    if not pictures:
        raise RejectError("no_image", "it shows no image, so there is nothing to ask about")
    if not caption.strip():
        raise RejectError("no_text", "its caption has no text")
    length, requests = context.instructions.requests(caption, sample, len(pictures))
    request = requests[draw(context.seed, sample.id, "instruction") % len(requests)]
    after = draw(context.seed, sample.id, "place of images") < context.instructions.images_after_text * _SHARE_STEPS
    asked: list[Part] = [f"{request}\n", *pictures] if after else [*pictures, f"\n{request}"]
    turns = (Turn("user", tuple(asked)), Turn("assistant", (caption,)))
    return child(sample, context.name, context.seed, kind="conversation", turns=turns, length=length)
