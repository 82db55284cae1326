"""One HTML file that shows how a run went and what its encoder finds alike; it opens offline."""

from __future__ import annotations

from likewise.report.page import write_report

__all__ = ["write_report"]
