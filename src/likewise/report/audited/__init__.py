"""The HTML page of an audit."""

from __future__ import annotations

from likewise.report.audited.page import as_page

__all__ = ["as_page"]
