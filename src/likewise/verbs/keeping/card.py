"""A model card in the form of the Hugging Face hub: the weights, their training, and their scores.

Front matter in YAML, of which JSON is a part: values are written as JSON, so that nothing in them can be misread.
Scores stand in `model-index`, in the hub's form (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise.data.sources.hub import PREFIX
from likewise.errors import InputError
from likewise.methods import find

if TYPE_CHECKING:
    from likewise.verbs.keeping.export import ExportReport

FILE = "README.md"
LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_ACCURACY = (
    *("knn", "linear", "logistic", "linear-sgd", "centroid", "fewshot", "labels"),
    *("finetune", "finetune-labels", "soft-nn"),
)
"""Scores that are shares of right answers."""


def check_licence(licence: str) -> None:
    """Raise InputError for what is no identifier of a licence, as the hub and SPDX write them in lower case."""
    if not LICENCE.fullmatch(licence):
        raise InputError(
            f"{licence!r} is no identifier of a licence: write one such as apache-2.0, cc-by-4.0 or unknown"
        )


def model_card(report: ExportReport, stored: Mapping[str, Any], licence: str) -> str:
    """The card of exported weights. `stored` is the run's run.json, empty for a weights file without its run.

    Paths of this machine are left out: data is called by its name.
    """
    scores = [one for one in stored.get("scores") or [] if one.get("which") == report.metadata.get("which")]
    name = report.path.stem
    parts = [
        _front_matter(name, report, stored, scores, licence),
        f"# {name}",
        _what(report, stored),
        "## Use",
        _use(report),
        *(["## Scores", _table(scores)] if scores else []),
        *(["## Training", _training(stored)] if stored else []),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(
    name: str, report: ExportReport, stored: Mapping[str, Any], scores: Sequence[Mapping[str, Any]], licence: str
) -> str:
    classifies = "class_names" in report.metadata
    task = "image-classification" if classifies else "image-feature-extraction"
    tags = [task, "self-supervised-learning", str(report.metadata["name"]), report.format]
    tags += [stored["method"]] if stored.get("method") else []
    metadata: dict[str, Any] = {"license": licence, "library_name": "likewise", "pipeline_tag": task, "tags": tags}
    path = str(_data(stored).get("path") or "")
    if path.startswith(PREFIX):
        metadata["datasets"] = [path.removeprefix(PREFIX).partition(":")[0]]
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in metadata.items()]
    if scores:
        results = json.dumps([_result(score) for score in scores], ensure_ascii=False)
        lines += ["model-index:", f"- name: {json.dumps(name, ensure_ascii=False)}", f"  results: {results}"]
    return "\n".join(["---", *lines, "---"])


def _result(score: Mapping[str, Any]) -> dict[str, Any]:
    """One score in the form of the hub's model index."""
    name = Path(str(score.get("data") or "unknown")).stem
    right = score["name"] in _ACCURACY
    return {
        "task": {"type": "image-classification" if right else "image-feature-extraction"},
        "dataset": {"name": name, "type": re.sub(r"[^a-z0-9._-]+", "-", name.lower()), "split": score.get("split")},
        "metrics": [{"type": "accuracy" if right else score["name"], "name": _called(score), "value": score["value"]}],
    }


def _called(score: Mapping[str, Any]) -> str:
    k, measure = score.get("k"), score.get("measure", "accuracy")
    words = [str(score["name"]), str(score.get("variant") or ""), "" if measure == "accuracy" else str(measure)]
    return " ".join(word for word in words if word) + (f", k = {k}" if k is not None else "")


def _what(report: ExportReport, stored: Mapping[str, Any]) -> str:
    about = report.metadata
    first = (
        f"{about['name']} (width {about['width']}, {about['stem']} stem), which maps an RGB image of "
        f"{about['image_size']} x {about['image_size']} pixels to {about['features']} features."
    )
    if not stored:
        return first
    title = (
        find(stored["method"]).card.title if stored.get("method") and not stored.get("classifier") else "fine-tuning"
    )
    count = _data(stored).get("images")
    learned = f"Trained by {title}" + (f" on {count:,} images of {_data(stored).get('name')}." if count else ".")
    return f"{first}\n{learned}"


def _use(report: ExportReport) -> str:
    about = report.metadata
    mean, std = (", ".join(f"{value:.4f}" for value in about[key]) for key in ("mean", "std"))
    normal = f"Input is RGB in 0 to 1, less the mean ({mean}), divided by the deviation ({std})."
    if report.recipe is not None:
        code = report.recipe.replace(repr(str(report.path)), repr(report.path.name))
        return f"{normal}\n\n```python\n{code}\n```"
    if report.format == "onnx":
        code = (
            "import onnxruntime\n\n"
            f"session = onnxruntime.InferenceSession({report.path.name!r})\n"
            'features = session.run(["features"], {"pixels": pixels})[0]  # pixels: (batch, 3, H, W) float32'
        )
        return f"{normal}\n\n```python\n{code}\n```"
    return f"{normal}\n\n```python\nimport likewise\n\nencoder = likewise.load({report.path.name!r})\n```"


def _table(scores: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f"| {_called(score)} | {Path(str(score.get('data') or 'unknown')).stem}, {score.get('split')} | "
        f"{score['value']:.4f} | {score.get('n', 0):,} | {str(score.get('protocol') or '').replace('|', '/')} |"
        for score in scores
    ]
    return "\n".join(["| score | data | value | images | protocol |", "| --- | --- | --- | --- | --- |", *rows])


def _training(stored: Mapping[str, Any]) -> str:
    facts = {
        "method": stored.get("method"),
        "variant": stored.get("variant"),
        "images": _data(stored).get("images"),
        "steps": stored.get("steps"),
        "batch size": stored.get("batch_size"),
        "minutes": stored.get("minutes"),
        "seed": stored.get("seed"),
        "likewise": stored.get("likewise"),
        "torch": (stored.get("versions") or {}).get("torch"),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items() if value is not None)


def _data(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    found = stored.get("data")
    return found if isinstance(found, dict) else {}
