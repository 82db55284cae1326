"""A trained method with all its networks, restored from its run: heads, teacher, prototypes, classifier.

What a run deploys is its encoder alone; another method may want the rest, such as the head of a teacher or the classes
of an older encoder. Memories and what lies elsewhere (a frozen teacher) are left out: the first are as long as the data
and are filled again, the second is named by the settings. A memory that `logits` answers from is kept.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor

from likewise.encoders import EncoderSpec
from likewise.encoders.build import rebuild
from likewise.errors import InputError
from likewise.files import write_aside
from likewise.memory import Bank, Clusters, History, Queue
from likewise.methods import find
from likewise.methods.method import Beside, Facts, Method, made
from likewise.runs import RunDirectory
from likewise.teachers import Frozen

FILE = "method.safetensors"
LEFT_OUT = (Queue, Bank, History, Clusters, Frozen)


def save_method(method: Method, facts: Facts, folder: Path) -> None:
    """Write the networks of `method`, and the facts it was built with, into a run directory."""
    content = serialise(
        {name: value.detach().cpu().clone().contiguous() for name, value in kept(method, method.answers_from).items()},
        metadata={"facts": json.dumps(dataclasses.asdict(dataclasses.replace(facts, columns={})), sort_keys=True)},
    )
    with write_aside(folder / FILE) as file:
        file.write(content)


def restore(run: str | Path | RunDirectory) -> Method:
    """The method of a finished run, with its trained networks, in eval mode on the CPU.

    Its memories are as they were drawn, but for those that `logits` answers from. Raises InputError where there is no
    run, where it is from before methods were kept, and where the file does not hold exactly the networks that the run's
    settings make.
    """
    opened = run if isinstance(run, RunDirectory) else RunDirectory.open(run)
    path = opened.path / FILE
    if not path.is_file():
        raise InputError(f"{opened.path} has no {FILE}: it is from before runs kept their method, or not finished")
    stored = opened.read()
    try:
        with safe_open(path, framework="pt") as file:
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
            facts = _facts(json.loads((file.metadata() or {})["facts"]))
        found = find(stored["method"])
        settings = found.Settings(**tuples(stored["settings"]))
        encoder = rebuild(EncoderSpec.from_mapping(stored["encoder"]))
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged, or {opened.settings_file} does not describe it: {error}") from error
    method = made(found, encoder, settings, facts)
    own = kept(method, method.answers_from)
    odd = sorted({*own} ^ {*weights}) + [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if odd:
        raise InputError(f"{path} does not hold the networks of {stored['method']}: {odd[0]} does not fit")
    method.load_state_dict(weights, strict=False)
    return method.eval()


def _facts(stored: Mapping[str, Any]) -> Facts:
    beside = stored.get("beside")
    return Facts(**{**tuples(stored), "beside": Beside(**beside) if beside else None})


def tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn lists of JSON into the tuples of settings, nested where needed."""
    return {name: _tuple(value) for name, value in values.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def kept(method: Method, memories: Sequence[str] = ()) -> dict[str, Tensor]:
    """State of a method by name, without that of teachers from elsewhere, and of its memories all but these."""
    without = tuple(
        f"{name}." for name, part in method.named_modules() if isinstance(part, LEFT_OUT) and name not in memories
    )
    return {name: value for name, value in method.state_dict().items() if not name.startswith(without)}
