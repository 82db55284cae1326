"""likewise: learning visual representations from images without labels, or with few.

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
    from likewise.verbs.judging.audit import audit
    from likewise.verbs.judging.drift import drift
    from likewise.verbs.judging.evaluate import evaluate
    from likewise.verbs.keeping.convert import convert
    from likewise.verbs.keeping.export import export
    from likewise.verbs.labelling.discover import discover
    from likewise.verbs.labelling.label import label
    from likewise.verbs.labelling.predict import predict
    from likewise.verbs.labelling.select import select
    from likewise.verbs.learning.doctor import doctor
    from likewise.verbs.learning.finetune import finetune
    from likewise.verbs.learning.train import train
    from likewise.verbs.learning.trial import trial
    from likewise.verbs.looking.explore import explore
    from likewise.verbs.looking.localise import localise
    from likewise.verbs.using.duplicates import find_duplicates
    from likewise.verbs.using.load import load
    from likewise.verbs.using.search import search
    from likewise.verbs.using.serve import serve
    from likewise.verbs.using.upgrade import upgrade

_HOMES = {
    "audit": "likewise.verbs.judging.audit",
    "compare": "likewise.comparison.comparing",
    "convert": "likewise.verbs.keeping.convert",
    "discover": "likewise.verbs.labelling.discover",
    "doctor": "likewise.verbs.learning.doctor",
    "drift": "likewise.verbs.judging.drift",
    "embed": "likewise.index.embedding.embed",
    "evaluate": "likewise.verbs.judging.evaluate",
    "explore": "likewise.verbs.looking.explore",
    "export": "likewise.verbs.keeping.export",
    "find_duplicates": "likewise.verbs.using.duplicates",
    "finetune": "likewise.verbs.learning.finetune",
    "load": "likewise.verbs.using.load",
    "load_classifier": "likewise.classifier",
    "label": "likewise.verbs.labelling.label",
    "localise": "likewise.verbs.looking.localise",
    "predict": "likewise.verbs.labelling.predict",
    "select": "likewise.verbs.labelling.select",
    "open_index": "likewise.index.index",
    "search": "likewise.verbs.using.search",
    "serve": "likewise.verbs.using.serve",
    "train": "likewise.verbs.learning.train",
    "trial": "likewise.verbs.learning.trial",
    "upgrade": "likewise.verbs.using.upgrade",
}
"""Public name -> module that defines it. No module bears the name of a function here: it would hide the function."""

__all__ = [
    "__version__",
    "audit",
    "compare",
    "convert",
    "discover",
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
