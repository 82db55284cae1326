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
    from likewise.index.embedding.embed import embed
    from likewise.index.index import open_index
    from likewise.verbs.audit import audit
    from likewise.verbs.convert import convert
    from likewise.verbs.doctor import doctor
    from likewise.verbs.drift import drift
    from likewise.verbs.duplicates import find_duplicates
    from likewise.verbs.evaluate import evaluate
    from likewise.verbs.explore import explore
    from likewise.verbs.export import export
    from likewise.verbs.finetune import finetune
    from likewise.verbs.label import label
    from likewise.verbs.load import load
    from likewise.verbs.localise import localise
    from likewise.verbs.predict import predict
    from likewise.verbs.search import search
    from likewise.verbs.select import select
    from likewise.verbs.serve import serve
    from likewise.verbs.train import train
    from likewise.verbs.trial import trial
    from likewise.verbs.upgrade import upgrade

_HOMES = {
    "audit": "likewise.verbs.audit",
    "compare": "likewise.comparison.comparing",
    "convert": "likewise.verbs.convert",
    "doctor": "likewise.verbs.doctor",
    "drift": "likewise.verbs.drift",
    "embed": "likewise.index.embedding.embed",
    "evaluate": "likewise.verbs.evaluate",
    "explore": "likewise.verbs.explore",
    "export": "likewise.verbs.export",
    "find_duplicates": "likewise.verbs.duplicates",
    "finetune": "likewise.verbs.finetune",
    "load": "likewise.verbs.load",
    "load_classifier": "likewise.classifier",
    "label": "likewise.verbs.label",
    "localise": "likewise.verbs.localise",
    "predict": "likewise.verbs.predict",
    "select": "likewise.verbs.select",
    "open_index": "likewise.index.index",
    "search": "likewise.verbs.search",
    "serve": "likewise.verbs.serve",
    "train": "likewise.verbs.train",
    "trial": "likewise.verbs.trial",
    "upgrade": "likewise.verbs.upgrade",
}
"""Public name -> module that defines it. No module bears the name of a function here: it would hide the function."""

__all__ = [
    "__version__",
    "audit",
    "compare",
    "convert",
    "doctor",
    "drift",
    "embed",
    "evaluate",
    "explore",
    "export",
    "find_duplicates",
    "finetune",
    "label",
    "load",
    "load_classifier",
    "localise",
    "open_index",
    "predict",
    "search",
    "select",
    "serve",
    "train",
    "trial",
    "upgrade",
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
