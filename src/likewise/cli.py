"""The command line: one verb per step of an encoder's life.

Nothing heavy is imported until a verb needs it, so that `likewise --help` answers at once. Flags come from the same
dataclasses as the Python API (`likewise.arguments`).
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from likewise import __version__
from likewise.errors import LikewiseError, unknown
from likewise.threads import share_processors

if TYPE_CHECKING:
    from likewise.evaluation import Evaluation

HELP = """\
usage: likewise VERB ...

Learn what images have in common, without labels or with few.

  train DATA       learn an encoder from a folder, list, Parquet or NumPy file of pictures
  evaluate RUN     score an encoder: neighbours, linear, few-shot, clustering, retrieval, ...
  compare RUN...   runs side by side: scores with tests, budgets, curves, labels needed
  methods          what can be learned by, with papers
  doctor DATA      what is in this data, what would be chosen, how fast it will be
  export RUN       the encoder as safetensors in timm keys, or as ONNX
  cache            decoded images on this machine: how large, when used; --clear removes them
  convert FILE     a checkpoint of lightly, solo-learn, MoCo, SwAV, DINO or ISD as a weights file

likewise VERB --help explains a verb; likewise train --method isd --help shows that method's own settings.
A first run:  likewise train photos/ --minutes 10
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit status: 0 done, 2 bad input, 3 stopped by health or a non-finite loss."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # paths whose bytes are no text are written as they are
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        return _dispatch(words)
    except LikewiseError as error:
        print(f"likewise: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("likewise: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(HELP, end="")
        return 0
    if words[0] in {"-V", "--version"}:
        print(f"likewise {__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    share_processors()
    VERBS[verb](rest)
    return 0


def _train(words: list[str]) -> None:
    from likewise.arguments import explicit, parse, train_arguments, value_of

    shape = train_arguments(value_of(words, "method", "isd"), value_of(words, "variant", None))
    parsed = parse(shape, words, "likewise train", "Learn an encoder from pictures without labels.")
    asked = explicit(parsed, words)
    from likewise.runs import command_line
    from likewise.training.train import train

    asked.pop("data", None)
    run = train(parsed.data, command=command_line(["likewise", "train", *words]), **asked)
    if os.environ.get("RANK", "0") != "0":  # one process of several speaks for all
        return
    print(f"run     {run.path}")
    if run.report_file.exists():
        print(f"report  {run.report_file}")
    _next(f"likewise evaluate {run.path} {parsed.data}")


def _evaluate(words: list[str]) -> None:
    from likewise.arguments import evaluate_arguments, parse

    parsed = parse(evaluate_arguments(), words, "likewise evaluate", "Score an encoder on pictures with labels.")
    from likewise.evaluation import evaluate, transfer

    same = ("probe", "which", "labels", "train_split", "test_split", "subset", "subset_seed", "classes", "cameras")
    more = ("masks", "untrained", "compare", "pretrained", "image_size", "seed")
    how = {name: getattr(parsed, name) for name in (*same, *more)}
    how |= {"settings": parsed.probes, "per_class": parsed.per_class or None, "class_mean": parsed.class_mean or None}
    if len(parsed.data) > 1:
        several = transfer(parsed.run, parsed.data, **how)
        if parsed.json:
            print(json.dumps(several.to_json(), indent=2))
            return
        for evaluation in several.evaluations:
            print(evaluation.data)
            _tell(evaluation)
        for kind, value in several.means().items():
            print(f"mean of {len(several.evaluations)} data sets  {kind:<20} {value:.4g}")
        return
    result = evaluate(parsed.run, parsed.data[0] if parsed.data else None, **how)
    if parsed.json:
        print(json.dumps(result.to_json(), indent=2))
        return
    _tell(result)
    if (Path(parsed.run) / "run.json").is_file():
        _next(f"likewise export {parsed.run} --format safetensors --out encoder.safetensors")
    else:
        _next(f"likewise train {result.data}")


def _tell(result: Evaluation) -> None:
    """The scores of one data set, a line each."""
    for score in result.scores:
        print(f"{score.which:<10} {score.label():<12} {score.figure():>24}  of {score.n:,}  {score.protocol}")
        for group, told in (score.groups or {}).items():
            print(f"{'':<10} {group:>12} {told.value:>7.2%}  mean of {told.classes:,} classes, {told.n:,} pictures")
    for note in result.notes:
        print(f"note: {note}")


def _compare(words: list[str]) -> None:
    from likewise.arguments import Compare, parse

    parsed = parse(Compare, words, "likewise compare", "Runs side by side, by the same protocols or not at all.")
    from likewise.comparison import check_free, compare, write
    from likewise.runs import plain

    files = {name: path for name in ("csv", "html", "svg") if (path := getattr(parsed, name)) is not None}
    for path in files.values():  # before anything takes long
        check_free(path, overwrite=parsed.overwrite)
    how = ("data", "probe", "which", "labels", "untrained", "pretrained", "labels_per_class", "draws")
    result = compare(*parsed.runs, **{name: getattr(parsed, name) for name in how})
    print(json.dumps(plain(result.to_json()), indent=2) if parsed.json else result.to_text())
    for name, path in files.items():
        written = write(path, getattr(result, f"to_{name}")(), overwrite=parsed.overwrite)
        if not parsed.json:
            print(f"{name:<7} {written}")
    if not parsed.json and "html" not in files:
        _next(f"likewise compare {' '.join(parsed.runs)} --html compare.html")


def _methods(words: list[str]) -> None:
    from likewise.arguments import Methods, parse

    parsed = parse(Methods, words, "likewise methods", "What an encoder can be learned by.")
    from likewise.methods.listing import as_json, as_text

    print(json.dumps(as_json(), indent=2) if parsed.json else as_text())
    if not parsed.json:
        _next("likewise train photos/ --method isd --help")


def _doctor(words: list[str]) -> None:
    from likewise.arguments import doctor_arguments, explicit, parse, value_of

    shape = doctor_arguments(value_of(words, "method", "isd"), value_of(words, "variant", None))
    parsed = parse(shape, words, "likewise doctor", "What is in this data, what would be chosen, how fast it will be.")
    from likewise.diagnosis import doctor

    asked = {name: value for name, value in explicit(parsed, words).items() if name not in {"data", "json"}}
    findings = doctor(parsed.data, **asked)
    print(json.dumps(findings.to_json(), indent=2) if parsed.json else findings.to_text())
    if not parsed.json:
        _next(f"likewise train {parsed.data}")


def _export(words: list[str]) -> None:
    from likewise.arguments import Export, parse

    parsed = parse(Export, words, "likewise export", "Write a trained encoder for use elsewhere.")
    from likewise.exporting import export

    print(export(parsed.run, format=parsed.format, out=parsed.out, which=parsed.which, overwrite=parsed.overwrite))


def _convert(words: list[str]) -> None:
    from likewise.arguments import Convert, parse

    parsed = parse(Convert, words, "likewise convert", "Make a checkpoint of another code base a weights file.")
    from likewise.converting import convert

    report = convert(
        parsed.checkpoint,
        origin=parsed.from_,
        out=parsed.out,
        encoder=parsed.encoder,
        which=parsed.which,
        image_size=parsed.image_size,
        stem=parsed.stem,
        overwrite=parsed.overwrite,
    )
    print(report)
    _next(f"likewise evaluate {report.path} photos/ --labels folders")


def _cache(words: list[str]) -> None:
    from likewise.arguments import Cache, parse

    parsed = parse(Cache, words, "likewise cache", "Decoded images that are kept on this machine.")
    from likewise.data.caches import manage

    result = manage(parsed.names, older_than=parsed.older_than, clear=parsed.clear)
    print(json.dumps(result.to_json(), indent=2) if parsed.json else result.to_text())
    if result.caches and not (parsed.clear or parsed.json):
        _next("likewise cache --older-than 30 --clear")


def _next(command: str) -> None:
    print(f"next    {command}")


VERBS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "compare": _compare,
    "methods": _methods,
    "doctor": _doctor,
    "export": _export,
    "cache": _cache,
    "convert": _convert,
}
