"""likewise learns what pictures have in common, without labels or with few.

    run = likewise.train("photos/", method="isd", minutes=30)
    likewise.evaluate(run, "photos/", labels="folders")
    encoder = likewise.load(run)

Each name below is imported when it is first used, so `import likewise` costs nothing and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from likewise._version import __version__

if TYPE_CHECKING:
    from likewise.classifier import load_classifier
    from likewise.comparison.comparing import compare
    from likewise.verbs.convert import convert
    from likewise.verbs.discover import discover
    from likewise.verbs.doctor import doctor
    from likewise.verbs.evaluate import evaluate
    from likewise.verbs.export import export
    from likewise.verbs.finetune import finetune
    from likewise.verbs.load import load
    from likewise.verbs.train import train

_HOMES = {
    "compare": "likewise.comparison.comparing",
    "convert": "likewise.verbs.convert",
    "discover": "likewise.verbs.discover",
    "doctor": "likewise.verbs.doctor",
    "evaluate": "likewise.verbs.evaluate",
    "export": "likewise.verbs.export",
    "finetune": "likewise.verbs.finetune",
    "load": "likewise.verbs.load",
    "load_classifier": "likewise.classifier",
    "train": "likewise.verbs.train",
}
"""Public name -> module that defines it. No module bears the name of a function here: it would hide the function."""

__all__ = [
    "__version__",
    "compare",
    "convert",
    "discover",
    "doctor",
    "evaluate",
    "export",
    "finetune",
    "load",
    "load_classifier",
    "train",
]


def __getattr__(name: str) -> Any:
    """The public function called `name`, imported now."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'likewise' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
