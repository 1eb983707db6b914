"""The self-contained HTML report of a run: no script, no network, read from the run folder's files alone."""

from priprune_plugins.report.page import write_report

__all__ = ["write_report"]
