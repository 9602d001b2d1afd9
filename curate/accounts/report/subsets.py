"""Names of subsets on the page: one that may be a patient's (a top folder of DICOM files) is a number there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SubsetNames:
    """What subsets are called: those that hold undeclared samples which may identify someone have a number."""

    numbers: Mapping[str, int]
    """The subsets whose names are withheld."""

    @classmethod
    def of(cls, by_source: Mapping[str, Mapping[str, int]], declared: Collection[str]) -> SubsetNames:
        """The names of subsets by their counts (``samples``, ``identified``), but for those that were declared."""
        found = [
            source for source, counts in by_source.items() if counts.get("identified", 0) and source not in declared
        ]
        ordered = sorted(found, key=lambda source: (-by_source[source].get("samples", 0), source))
        return cls({source: number for number, source in enumerate(ordered, 1)})

    def __call__(self, source: str) -> str:
        """What a subset is called on the page."""
        number = self.numbers.get(source)
        return source if number is None else f"subset {number} (name withheld)"

    def cleaned(self, text: str) -> str:
        """A text that others wrote, with such names in it replaced wherever they stand as words."""
        named = [source for source in self.numbers if source.strip()]
        if not named:
            return text
        longest_first = "|".join(re.escape(source) for source in sorted(named, key=lambda name: (-len(name), name)))
        return re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", lambda found: self(found.group()), text)

    def cleaned_values(self, value: Any) -> Any:
        """JSON values with all texts in them cleaned; of the names of fields those that are a subset's."""
        if isinstance(value, str):
            return self.cleaned(value)
        if isinstance(value, dict):
            return {self(name): self.cleaned_values(part) for name, part in value.items()}
        return [self.cleaned_values(part) for part in value] if isinstance(value, list | tuple) else value
