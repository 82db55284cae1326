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
    from likewise.converting import convert
    from likewise.diagnosis import doctor
    from likewise.evaluation import evaluate
    from likewise.exporting import export
    from likewise.finetuning import finetune
    from likewise.loading import load
    from likewise.training.train import train

_HOMES = {
    "compare": "likewise.comparison.comparing",
    "convert": "likewise.converting",
    "doctor": "likewise.diagnosis",
    "evaluate": "likewise.evaluation",
    "export": "likewise.exporting",
    "finetune": "likewise.finetuning",
    "load": "likewise.loading",
    "load_classifier": "likewise.classifier",
    "train": "likewise.training.train",
}
"""Public name -> module that defines it. No module bears the name of a function here: it would hide the function."""

__all__ = [
    "__version__",
    "compare",
    "convert",
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
