"""The report of a run as one HTML page: `write_report`."""

from __future__ import annotations

from likewise.report.mistakes import Judged
from likewise.report.page import SHOWN, Evaluated, write_report
from likewise.report.places import PlaceFeatures, look

__all__ = ["SHOWN", "Evaluated", "Judged", "PlaceFeatures", "look", "write_report"]
