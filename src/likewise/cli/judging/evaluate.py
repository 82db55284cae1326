"""`likewise evaluate`: score an encoder."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from likewise.cli.shared import print_next
from likewise.evaluation.scoring import Scoring

if TYPE_CHECKING:
    from likewise.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Evaluate(Scoring):
    """Arguments of `likewise evaluate`, but those of the probes."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN|ENCODER")]
    """Run directory, .safetensors or .onnx file, or the name of a timm model with --pretrained."""
    data: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="DATA")] = ()
    """Images with labels, or several data sets; by default what the run was trained on."""
    which: Literal["student", "teacher"] | None = None
    """Which encoder of the run; by default the one that its method deploys."""
    untrained: bool = False
    """Also score the same encoder before any training, as a baseline."""
    compare: Literal["random"] | None = None
    """Also score the same encoder with random weights."""
    pretrained: bool = False
    """Take timm's published weights of the model named."""
    image_size: int | None = None
    """Side at which images are shown; by default the encoder's own, 224 for the name of a timm model."""
    per_class: bool = False
    """Figures by class and by many-, medium- and few-shot classes, also where classes are not skewed."""
    class_mean: bool = False
    """Accuracy as the mean over classes, also for data sets where the field does not do so."""
    json: bool = False
    """Print one JSON object."""


def evaluate_arguments() -> type[Any]:
    """Arguments of `likewise evaluate` with those of the probes."""
    from likewise.evaluation.probes.protocol import ProbeSettings

    probes = dataclasses.field(default=ProbeSettings())
    fields: list[tuple[str, Any, Any]] = [("probes", OmitArgPrefixes[ProbeSettings], probes)]
    return dataclasses.make_dataclass("EvaluateAll", fields, bases=(Evaluate,), frozen=True, kw_only=True)


def run(words: list[str]) -> None:
    """Do what the words after the verb ask for."""
    from likewise.parsing import parse

    parsed = parse(evaluate_arguments(), words, "likewise evaluate", "Score an encoder on images with labels.")
    from likewise.verbs.judging.evaluate import evaluate
    from likewise.verbs.judging.score_text import as_text, means_text
    from likewise.verbs.judging.transfer import transfer

    encoder = ("which", "untrained", "compare", "pretrained", "image_size")
    how = {name: getattr(parsed, name) for name in (*encoder, *(one.name for one in dataclasses.fields(Scoring)))}
    how |= {"settings": parsed.probes, "per_class": parsed.per_class or None, "class_mean": parsed.class_mean or None}
    if len(parsed.data) > 1:
        several = transfer(parsed.run, parsed.data, **how)
        if parsed.json:
            print(json.dumps(several.to_json(), indent=2))
            return
        for evaluation in several.evaluations:
            print(as_text(evaluation, brief=parsed.quiet), end="\n\n")
        print(means_text(several))
        return
    result = evaluate(parsed.run, parsed.data[0] if parsed.data else None, **how)
    if parsed.json:
        print(json.dumps(result.to_json(), indent=2))
        return
    print(as_text(result, brief=parsed.quiet))
    if not parsed.quiet:
        print()
        _after_scores(parsed, result)


def _after_scores(parsed: Any, result: Evaluation) -> None:
    """What to do with an encoder that was scored: a run is taken elsewhere, another one is trained against."""
    from likewise.commands import command, following

    file, path = Path(parsed.run) / "run.json", Path(parsed.run)
    if file.is_file():
        print_next(following(path, json.loads(file.read_text(encoding="utf-8")))[0].command)
    elif parsed.data:
        draw = {"subset": parsed.subset, "subset_seed": parsed.subset_seed if parsed.subset else None}
        print_next(command("train", result.data, labels=parsed.labels, split=parsed.train_split, **draw))
