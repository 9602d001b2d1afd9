"""Checks of records and exports before a trainer, or a reviewer of a pull request, meets them; nothing is written."""

from curate.sources.validate.report import Finding, Group, Report, Severity
from curate.sources.validate.run import FORMAT_NAMES, Progress, validate
from curate.sources.validate.session import ValidateOptions

__all__ = ["FORMAT_NAMES", "Finding", "Group", "Progress", "Report", "Severity", "ValidateOptions", "validate"]
