"""The command line: one verb per step of an encoder's life.

Nothing heavy is imported until a verb needs it, so that `likewise --help` answers at once. Flags come from the same
dataclasses as the Python API (`likewise.arguments`).
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from likewise import __version__
from likewise.errors import LikewiseError, unknown
from likewise.files import refusal
from likewise.threads import share_processors

if TYPE_CHECKING:
    from likewise.evaluation import Evaluation
    from likewise.runs import RunDirectory

HELP = """\
usage: likewise VERB ...

Learn what images have in common, without labels or with few.

  train DATA       learn an encoder from a folder, list, Parquet or NumPy file of pictures
  evaluate RUN     score an encoder: neighbours, linear, few-shot, clustering, retrieval, ...
  finetune RUN     train encoder and classifier on labelled pictures
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
    except OSError as error:
        if (told := refusal(error)) is None:
            raise
        print(f"likewise: {told}", file=sys.stderr)
        return LikewiseError.exit_status


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
    from likewise.arguments import train_arguments
    from likewise.parsing import explicit, parse, value_of

    shape = train_arguments(value_of(words, "method", "isd"), value_of(words, "variant", None))
    parsed = parse(shape, words, "likewise train", "Learn an encoder from pictures without labels.")
    asked = explicit(parsed, words)
    from likewise.runs import command_line
    from likewise.verbs.train import train

    asked.pop("data", None)
    run = train(parsed.data, command=command_line(["likewise", "train", *words]), **asked)
    if os.environ.get("RANK", "0") == "0":  # one process of several speaks for all
        _tell_run(run, quiet=parsed.run.quiet)


def _tell_run(run: RunDirectory, *, quiet: bool) -> None:
    """Where a run lies, what training brought, and what to do with it."""
    from likewise.commands import following

    print(f"run     {run.path}")
    if quiet:
        return
    if run.report_file.exists():
        print(f"report  {run.report_file}")
    stored = run.read()
    for line in training_words(stored):
        print(line)
    proposals = following(run.path, stored)
    if proposals:
        _next(proposals[0].command)


def training_words(stored: Mapping[str, Any]) -> list[str]:
    """What the scores while training say of a finished run, or that there were none."""
    from likewise.terminal import paragraph

    online = stored.get("online") or {}
    if stored.get("classifier"):
        return [f"score   {100 * one['value']:.1f} % of {one['n']:,} {one['split']} images" for one in stored["scores"]]
    if online.get("change"):
        return [paragraph(online["change"], first="gain    ", indent="        ")]
    if not stored.get("data", {}).get("classes"):
        words = "nothing is scored without labels; where sub-folders are the classes, --labels folders says so"
        return [paragraph(words, first="note    ", indent="        ")]
    return []


def _evaluate(words: list[str]) -> None:
    from likewise.arguments import evaluate_arguments
    from likewise.parsing import parse

    parsed = parse(evaluate_arguments(), words, "likewise evaluate", "Score an encoder on pictures with labels.")
    from likewise.verbs.evaluate import evaluate
    from likewise.verbs.score_text import as_text, means_text
    from likewise.verbs.transfer import transfer

    same = ("probe", "which", "labels", "train_split", "test_split", "subset", "subset_seed", "classes", "cameras")
    more = ("masks", "untrained", "compare", "pretrained", "image_size", "seed", "quiet")
    how = {name: getattr(parsed, name) for name in (*same, *more)}
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
        _next(following(path, json.loads(file.read_text(encoding="utf-8")))[0].command)
    elif parsed.data:
        draw = {"subset": parsed.subset, "subset_seed": parsed.subset_seed if parsed.subset else None}
        _next(command("train", result.data, labels=parsed.labels, split=parsed.train_split, **draw))


def _compare(words: list[str]) -> None:
    from likewise.arguments import Compare
    from likewise.parsing import parse

    parsed = parse(Compare, words, "likewise compare", "Runs side by side, by the same protocols or not at all.")
    from likewise.commands import command, free_name
    from likewise.comparison import check_free, compare, write
    from likewise.runs import plain

    files = {name: path for name in ("csv", "html", "svg") if (path := getattr(parsed, name)) is not None}
    for path in files.values():  # before anything takes long
        check_free(path, overwrite=parsed.overwrite)
    names = ("data", "probe", "which", "labels", "untrained", "pretrained", "labels_per_class", "draws")
    how = {name: getattr(parsed, name) for name in names}
    result = compare(*parsed.runs, **how, quiet=parsed.quiet)
    if parsed.json:
        print(json.dumps(plain(result.to_json()), indent=2))
    else:
        print(result.to_text(brief=parsed.quiet))
    for name, path in files.items():
        written = write(path, getattr(result, f"to_{name}")(), overwrite=parsed.overwrite)
        if not parsed.json and not parsed.quiet:
            print(f"{name:<7} {written}")
    if not parsed.json and not parsed.quiet and "html" not in files:
        print()
        how["draws"] = parsed.draws if parsed.labels_per_class else None
        _next(command("compare", *parsed.runs, **how, html=free_name("compare", "html")))


def _finetune(words: list[str]) -> None:
    from likewise.arguments import Finetune
    from likewise.parsing import parse

    parsed = parse(Finetune, words, "likewise finetune", "Train an encoder and a classifier on pictures with labels.")
    from likewise.runs import command_line
    from likewise.verbs.finetune import finetune

    how = {name: value for name, value in vars(parsed).items() if name not in {"run", "data"}}
    run = finetune(parsed.run, parsed.data, command=command_line(["likewise", "finetune", *words]), **how)
    _tell_run(run, quiet=parsed.quiet)


def _methods(words: list[str]) -> None:
    from likewise.arguments import Methods
    from likewise.parsing import parse

    parsed = parse(Methods, words, "likewise methods", "What an encoder can be learned by.")
    from likewise.methods.listing import as_json, as_text

    print(json.dumps(as_json(), indent=2) if parsed.json else as_text())
    if not parsed.json and not parsed.quiet:
        _next("likewise train --method isd --help")


def _doctor(words: list[str]) -> None:
    from likewise.arguments import doctor_arguments
    from likewise.parsing import explicit, parse, value_of

    shape = doctor_arguments(value_of(words, "method", "isd"), value_of(words, "variant", None))
    parsed = parse(shape, words, "likewise doctor", "What is in this data, what would be chosen, how fast it will be.")
    from likewise.commands import carried
    from likewise.verbs.doctor import doctor

    asked = {name: value for name, value in explicit(parsed, words).items() if name not in {"data", "json", "quiet"}}
    findings = doctor(parsed.data, **asked)
    print(json.dumps(findings.to_json(), indent=2) if parsed.json else findings.to_text())
    if not parsed.json and not parsed.quiet:
        _next(carried("train", words, without=("json", "quiet")))


def _export(words: list[str]) -> None:
    from likewise.arguments import Export
    from likewise.parsing import parse

    parsed = parse(Export, words, "likewise export", "Write a trained encoder for use elsewhere.")
    from likewise.commands import scoring
    from likewise.runs import RunDirectory
    from likewise.verbs.export import export

    report = export(parsed.run, format=parsed.format, out=parsed.out, which=parsed.which, overwrite=parsed.overwrite)
    print(report.path if parsed.quiet else report)
    following = scoring(report.path, RunDirectory(Path(parsed.run)).read())
    if following is not None and not parsed.quiet:
        _next(following)


def _convert(words: list[str]) -> None:
    from likewise.arguments import Convert
    from likewise.parsing import parse

    parsed = parse(Convert, words, "likewise convert", "Make a checkpoint of another code base a weights file.")
    from likewise.commands import command, free_name
    from likewise.verbs.convert import convert

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
    print(report.path if parsed.quiet else report)
    if not parsed.quiet:
        _next(command("export", report.path, format="onnx", out=free_name(report.path.stem, "onnx")))


def _cache(words: list[str]) -> None:
    from likewise.arguments import Cache
    from likewise.parsing import parse

    parsed = parse(Cache, words, "likewise cache", "Decoded images that are kept on this machine.")
    from likewise.commands import command
    from likewise.data.caches import manage

    result = manage(parsed.names, older_than=parsed.older_than, clear=parsed.clear)
    print(json.dumps(result.to_json(), indent=2) if parsed.json else result.to_text())
    if result.caches and not (parsed.clear or parsed.json or parsed.quiet):
        _next(command("cache", older_than=30, clear=True))


def _next(command: str) -> None:
    print(f"next    {command}")


VERBS: dict[str, Callable[[list[str]], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "finetune": _finetune,
    "compare": _compare,
    "methods": _methods,
    "doctor": _doctor,
    "export": _export,
    "cache": _cache,
    "convert": _convert,
}
