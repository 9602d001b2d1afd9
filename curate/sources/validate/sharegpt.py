"""How ``dataset_info.json`` describes sharegpt conversations, and the way from there to LLaMA-Factory rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.schemas import shown
from curate.sources.validate.report import Severity

ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")
"""Keys of an entry whose data is not a file of the folder."""
_COLUMNS = frozenset(
    {"prompt", "query", "response", "history", "messages", "system", "tools"}
    | {"images", "videos", "audios", "chosen", "rejected", "kto_tag"}
)
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
"""The tags and their defaults, which hold only where an entry gives no tags at all."""


class EntryError(ValueError):
    """Raised for an entry whose rows can't be checked."""

    def __init__(self, code: str, place: str, message: str, *, severity: Severity = "error") -> None:
        super().__init__(message)
        self.code, self.place, self.severity = code, place, severity


@dataclass(frozen=True)
class SharegptLayout:
    """Names of columns and tags in a file of conversations."""

    columns: Mapping[str, str]
    """LLaMA-Factory's name of a column -> its name in the file, for those of messages, system and images it has."""
    tags: Mapping[str, str]
    renamed: Mapping[str, str]
    """Field name of :class:`~curate.schemas.LlamaFactoryRow` -> its name in the file, where they differ."""

    def canonical(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A row under the field names of :class:`~curate.schemas.LlamaFactoryRow`."""
        named = {ours: fields[theirs] for ours, theirs in self.columns.items() if fields.get(theirs) is not None}
        images, messages = named.get("images", []), named.get("messages")
        row = named | {"images": [images] if isinstance(images, str) else images}
        if isinstance(messages, list):
            row["messages"] = [self._message(message) for message in messages]
            first = messages[0] if messages else None
            if isinstance(first, dict) and first.get(self.tags["role_tag"]) == self.tags.get("system_tag", ""):
                row["system"] = row["messages"].pop(0).get("content")
        return row

    def _message(self, message: Any) -> Any:
        if not isinstance(message, dict):
            return message
        tags = self.tags
        speakers = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant"}
        speakers |= {
            tags[tag]: role for tag, role in (("observation_tag", "user"), ("function_tag", "assistant")) if tag in tags
        }
        canonical: dict[str, Any] = {}
        if (role := tags["role_tag"]) in message:
            speaker = message[role]
            canonical["role"] = speakers.get(speaker, speaker) if isinstance(speaker, str) else speaker
        if (content := tags["content_tag"]) in message:
            canonical["content"] = message[content]
        return canonical


def sharegpt_layout(entry: Any) -> SharegptLayout:
    """The layout that an entry of ``dataset_info.json`` describes. Raises EntryError when its rows can't be checked."""
    if not isinstance(entry, dict):
        raise EntryError("wrong_type", "", "a data set is described by an object")
    if entry.keys() & set(ELSEWHERE):
        message = "it lies on a hub or behind a script; only files of this folder are checked"
        raise EntryError("not_checked", "", message, severity="warning")
    formatting = entry.get("formatting", "alpaca")
    if formatting == "openai":
        message = 'LLaMA-Factory adds the system text "detailed thinking off" to such rows; use sharegpt with tags'
        raise EntryError("openai_formatting", "formatting", message)
    if formatting != "sharegpt" or entry.get("ranking"):
        kind = "preference pairs" if entry.get("ranking") else f"rows with formatting {shown(formatting)}"
        message = f"{kind} are not checked, only sharegpt conversations are"
        raise EntryError("not_checked", "formatting", message, severity="warning")
    columns = _strings(entry, "columns", {"messages": "conversations"}, _COLUMNS, needed=("messages",))
    tags = _strings(
        entry, "tags", _TAGS, frozenset(_TAGS), needed=("role_tag", "content_tag", "user_tag", "assistant_tag")
    )
    used = {key: columns[key] for key in ("messages", "system", "images") if key in columns}
    names = {**used, "role": tags["role_tag"], "content": tags["content_tag"]}
    return SharegptLayout(used, tags, {ours: theirs for ours, theirs in names.items() if ours != theirs})


def _strings(
    entry: Mapping[str, Any], key: str, default: Mapping[str, str], known: frozenset[str], *, needed: tuple[str, ...]
) -> Mapping[str, str]:
    """The ``columns`` or ``tags`` of an entry; where given, LLaMA-Factory has no defaults for what is left out."""
    given = entry.get(key, default)
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise EntryError("wrong_type", key, "it must be an object of strings")
    for name in sorted(given.keys() - known):
        raise EntryError(
            "unknown_key", f"{key}.{name}", f"LLaMA-Factory ignores it; it knows {', '.join(sorted(known))}"
        )
    for name in needed:
        if name not in given:
            raise EntryError("missing", f"{key}.{name}", f"where {key} is given, this must be in it")
    return given
