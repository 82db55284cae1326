"""Comparison of runs, with tests of the differences: `likewise.compare`.

print(compare("runs/a", "runs/b", data="photos/").to_text())
"""

from __future__ import annotations

from likewise.comparison.comparing import Comparison, check_free, compare, write

__all__ = ["Comparison", "check_free", "compare", "write"]
