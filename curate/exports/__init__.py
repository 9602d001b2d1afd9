"""Exports: samples and decisions in, files that a trainer reads out."""

from curate.exports.options import FORMATS, ExportOptions, Format
from curate.exports.records import to_record
from curate.exports.run import ExportSummary, export
from curate.rewards.prompt import DEFAULT_SYSTEM_PROMPT

__all__ = ["DEFAULT_SYSTEM_PROMPT", "FORMATS", "ExportOptions", "ExportSummary", "Format", "export", "to_record"]
