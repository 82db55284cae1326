"""Shell commands to be pasted, as verbs, reports and errors propose them.

Every command is made by `command`, so all of them are quoted for a shell; what follows on a run is read off its
run.json, so the terminal and the report propose the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from likewise.data.splitting.splits import TRAIN


class Proposal(NamedTuple):
    """A command, and what it is good for."""

    why: str
    command: str


def command(verb: str, *words: object, **options: object) -> str:
    """`likewise VERB WORDS --option value`, quoted for a shell.

    An option that is None, False or empty is left out, True is a flag without a value, and a tuple is several values.
    """
    # A name that begins with a hyphen would be taken for an option.
    written = [f"./{word}" if str(word).startswith("-") else str(word) for word in words]
    for name, value in options.items():
        if value is None or value is False or value == ():
            continue
        written.append(f"--{name.rstrip('_').replace('_', '-')}")
        if value is not True:
            written += [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
    return shlex.join(["likewise", verb, *written])


def carried(verb: str, words: Sequence[str], *, without: Sequence[str]) -> str:
    """The words of one verb for another, but the flags (which take no value) in `without`."""
    left_out = {f"--{flag}" for name in without for flag in (name, f"no-{name}")}
    return shlex.join(["likewise", verb, *(word for word in words if word not in left_out)])


def repeated(line: str) -> str:
    """A command that made a run, so that it makes another one: without the directory that is taken now."""
    try:
        words = shlex.split(line)
    except ValueError:  # no command of a shell: as it was written down
        return line
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word not in {"--out", "--resume"} and not word.startswith("--out=") and before != "--out"
    ]
    return shlex.join(kept)


def free_name(name: str, ending: str) -> str:
    """A file name in the working directory that is not taken: `photos.onnx`, else `photos-2.onnx`, ..."""
    number = 1
    while (path := Path(f"{name}.{ending}" if number == 1 else f"{name}-{number}.{ending}")).exists():
        number += 1
    return str(path)


def resume(run: Path, stored: Mapping[str, Any]) -> str | None:
    """The command that goes on with a run; None where its data was not named by a path."""
    data = _data(stored)
    if not data.get("path"):
        return None
    return command("train", data["path"], out=run, resume=True, labels=data.get("labels"), split=_split(data))


def scoring(encoder: Path, stored: Mapping[str, Any]) -> str | None:
    """The command that scores an encoder on what the run of `stored` learned from; None without known labels."""
    data = _data(stored)
    if not data.get("path") or not _is_labelled(data):
        return None
    return command("evaluate", encoder, data["path"], labels=data.get("labels"), train_split=_split(data))


def following(run: Path, stored: Mapping[str, Any]) -> list[Proposal]:
    """What to do with a run now, the likeliest first; `stored` is its run.json."""
    return list(_following(run, stored))


def _following(run: Path, stored: Mapping[str, Any]) -> Iterator[Proposal]:
    going_on = resume(run, stored) if stored.get("status") in {"running", "interrupted"} else None
    if going_on is not None:
        yield Proposal("Go on with this run", going_on)
    score = scoring(run, stored)
    if score is not None and not stored.get("scores"):
        yield Proposal("Score it", score)
    elif score is not None and not stored.get("classifier"):
        data = _data(stored)
        words = command("finetune", run, data["path"], labels=data.get("labels"), train_split=_split(data))
        yield Proposal("Make a classifier of it", words)
    exported = command("export", run, format="onnx", out=free_name(run.name or "encoder", "onnx"))
    yield Proposal("Take the encoder elsewhere", exported)


def _data(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    found = stored.get("data")
    return found if isinstance(found, dict) else {}


def _is_labelled(data: Mapping[str, Any]) -> bool:
    """Whether labels were known; older runs only say the names of the classes."""
    return bool(data["classes"] if "classes" in data else data.get("class_names"))


def _split(data: Mapping[str, Any]) -> str | None:
    """The split that was trained on, where it is not the one that is taken by default."""
    split = data.get("split")
    return None if split is None or str(split).lower() in TRAIN else str(split)
