"""Instructions that a conversation begins with, in a YAML file that anyone can read and edit."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from curate.corpus import Sample, UserError
from curate.rewards.normalise import SPACELESS
from curate.schemas import IMAGE_PLACEHOLDER

_PLACEHOLDERS = frozenset({"modality", "count"})
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_LETTER = re.compile(r"[^\W\d_]")
_SPACELESS = re.compile(f"[{SPACELESS}]")
_WORD = re.compile(rf"(?:(?![{SPACELESS}])\w)+(?:[-'’.,/](?:(?![{SPACELESS}])\w)+)*")
_CHARACTERS_A_WORD = 1.7
"""Characters that a word takes in scripts without spaces, about."""
Length = Literal["brief", "detailed"]
QUERY_TYPES = ("choice", "multi_choice", "yes_no", "numeric")
"""Types whose answers have a form of their own."""


def _template(text: str) -> str:
    if IMAGE_PLACEHOLDER in text:
        raise ValueError(f"{IMAGE_PLACEHOLDER} does not belong into an instruction: pictures are placed around it")
    try:
        names = {name for _, name, form, conversion in string.Formatter().parse(text) if name is not None}
        plain = all(not form and not conversion for _, _, form, conversion in string.Formatter().parse(text))
    except ValueError:
        names, plain = {"{"}, False
    if not plain or not names <= _PLACEHOLDERS:
        raise ValueError(f"{text[:60]!r}: in braces only {{modality}} and {{count}} may stand; a brace itself is {{{{")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Template = Annotated[Text, AfterValidator(_template)]
Templates = Annotated[list[Template], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Describe(_Part):
    """Requests for a description. ``{modality}`` is used where it is known, ``{count}`` is the number of images."""

    brief: Templates
    """Ask for a short description."""
    detailed: Templates
    """Ask for a full one."""


class Formats(_Part):
    """What is said about the form of an answer, by query type; ``text`` is for all others."""

    choice: Texts
    multi_choice: Texts
    yes_no: Texts
    numeric: Texts
    text: Texts


class Language(_Part):
    """Everything in one language."""

    one_image: Describe
    several_images: Describe
    modalities: dict[Text, Text]
    """DICOM modality code -> how the modality is called."""
    formats: Formats
    yes_no: Annotated[list[Text], Field(min_length=2, max_length=2)]
    """How an answer says yes, and how it says no."""


class Instructions(_Part):
    """The content of an instructions file."""

    brief_below_words: Annotated[int, Field(ge=0)]
    """A caption with fewer words is a short description (LLaVA-Med, arXiv 2306.00890: 30)."""
    images_after_text: Annotated[float, Field(ge=0, le=1)]
    """Share of conversations in which the images come after the instruction."""
    languages: dict[Literal["en", "zh"], Language]
    """``zh`` for texts in Chinese, ``en`` for all others."""

    @property
    def hash(self) -> str:
        """SHA-256 of the content: comments and layout of the file do not matter."""
        return hashlib.sha256(orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def language(self, text: str) -> Language:
        """The language in which to speak about ``text``."""
        return self.languages["zh" if is_chinese(text) else "en"]

    def requests(self, caption: str, sample: Sample, pictures: int) -> tuple[Length, list[str]]:
        """Whether the caption of so many pictures is brief, and the instructions that may ask for it, filled in."""
        language = self.language(caption)
        describe = language.one_image if pictures == 1 else language.several_images
        length: Length = "brief" if words(caption) < self.brief_below_words else "detailed"
        known = {"count": str(pictures), "modality": _modality(sample, language)}
        templates = describe.brief if length == "brief" else describe.detailed
        usable = [template for template in templates if all(known[name] for name in _names(template))]
        return length, [template.format(**known) for template in usable]

    def formats(self, text: str, query_type: str) -> list[str]:
        """Sentences that say how to answer a question of a type."""
        found: list[str] = getattr(self.language(text).formats, query_type if query_type in QUERY_TYPES else "text")
        return found

    def all_formats(self) -> Iterator[str]:
        """Every sentence about the form of an answer."""
        for language in self.languages.values():
            for sentences in language.formats.model_dump().values():
                yield from sentences


def load_instructions(path: Path | None = None) -> Instructions:
    """The instructions that come with curate, with what the file ``path`` gives laid over them: a list replaces a list.

    Raises UserError naming the file and field for whatever is wrong in it.
    """
    shipped = Path(__file__).with_name("instructions.yaml")
    content = _read(shipped)
    if path is not None:
        content = _laid_over(content, _read(path))
    try:
        found = Instructions.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise UserError(f"instructions {path}: {field}: {first['msg'].removeprefix('Value error, ')}{more}") from None
    for name, language in found.languages.items():
        for kind in ("one_image", "several_images"):
            for length, templates in getattr(language, kind).model_dump().items():
                if all("modality" in _names(template) for template in templates):
                    raise UserError(
                        f"instructions {path}: languages.{name}.{kind}.{length}: one of them must do without "
                        "{modality}, which is not known of every sample"
                    )
    return found


def words(text: str) -> int:
    """Words of a text; in scripts without spaces as many as its characters would make."""
    spaceless = len(_SPACELESS.findall(text))
    return len(_WORD.findall(text)) + round(spaceless / _CHARACTERS_A_WORD)


def is_chinese(text: str) -> bool:
    """Whether a text is in Chinese, English terms inside it aside."""
    start = text[:2000]
    han = len(_HAN.findall(start))
    return han > 0 and 4 * han >= len(_LETTER.findall(start)) and not _KANA.search(start)


def _names(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def _modality(sample: Sample, language: Language) -> str:
    """How the sample's modality is called; "" when it is not known. Nothing of a record is put into an instruction."""
    dicom = sample.meta.get("dicom")
    given = [dicom.get("modality") if isinstance(dicom, dict) else None, sample.meta.get("modality")]
    for value in given:
        if isinstance(value, str) and (name := language.modalities.get(value.strip().upper())):
            return name
    return ""


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}
    return above


def _read(path: Path) -> Any:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise UserError(f"instructions {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"instructions {path} is not a text file in UTF-8") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"instructions {path} is not valid YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(content, dict):
        raise UserError(f"instructions {path}: the file is not a mapping; see docs/conversions.md for its fields")
    return content


class _Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is written twice", node.start_mark)
        return mapping
