"""Training that starts from the weights of another run, or of a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open

from likewise.encoders import Encoder, load_encoder
from likewise.encoders.files.chosen import choose
from likewise.errors import InputError
from likewise.methods.method import Method
from likewise.methods.whole import FILE, kept
from likewise.training.planning.asked import Asked
from likewise.training.planning.resolve import STATISTICS, Plan


class Start(NamedTuple):
    """A trained encoder, and the other networks of the run that it is from."""

    path: Path
    """The run directory or weights file that was named."""
    encoder: Encoder
    """The encoder that the run deploys, with its weights."""
    method: str | None
    """The run's method; None for a weights file."""


def open_start(path: str) -> Start:
    """Open the target of `--start`. Raises InputError where it holds no encoder."""
    place = Path(path)
    encoder = load_encoder(choose(place, None).path)
    if not place.is_dir():
        return Start(place, encoder, None)
    from likewise.runs import RunDirectory

    return Start(place, encoder, RunDirectory.open(place).read().get("method"))


def as_asked(start: Start, wanted: Asked, asked: dict[str, Any]) -> Asked:
    """The options, with the encoder of the start. Raises InputError where others were `asked` for."""
    spec = start.encoder.spec
    own = {"encoder": spec.name, "width": spec.width, "stem": spec.stem}
    for name, value in own.items():
        if asked.get(name) not in {None, value}:
            raise InputError(f"{name}={asked[name]} is not that of the start {start.path}, which has {value}")
    if (whose := wanted.normalisation) is not None and STATISTICS.get(whose) != (spec.mean, spec.std):
        raise InputError(
            f"normalisation={whose} is not that of the start {start.path}, which was trained with mean {spec.mean} and "
            f"deviation {spec.std}: leave it out"
        )
    if wanted.pretrained:
        raise InputError(f"pretrained and start={start.path} are two beginnings: give one of them")
    return replace(wanted, **own, image_size=wanted.image_size or spec.image_size)  # type: ignore[arg-type]


def planned(start: Start, plan: Plan) -> Plan:
    """The plan with the encoder of the start, normalisation included."""
    spec = replace(start.encoder.spec, image_size=plan.encoder.image_size, pretrained=False)
    choices = tuple(choice for choice in plan.choices if choice.setting not in {"normalisation", "width", "stem"})
    return replace(plan, encoder=spec, choices=choices)


def begin(method: Method, start: Start) -> str:
    """Load the other networks of the start into `method`, and say what came from there.

    Its encoder is in place by then. Heads, teacher and the rest are taken where the run has the same method, each only
    as a whole: a part with another key or shape keeps its random weights, and is named. Memories are not taken.
    """
    parts = {name.partition(".")[0] for name in kept(method)}
    if start.method is None or not (start.path / FILE).is_file():
        return f"the encoder of {start.path}"
    from likewise.methods import find

    if type(method) is not find(start.method):
        return f"the encoder of {start.path}; the other networks of {start.method} are left there"
    own = kept(method)
    try:
        with safe_open(start.path / FILE, framework="pt") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{start.path / FILE} is damaged: {error}") from error
    taken: list[str] = []
    left: list[str] = []
    for part in sorted(parts):
        keys = {key for key in (*own, *found) if key.partition(".")[0] == part}
        fits = all(key in own and key in found and own[key].shape == found[key].shape for key in keys)
        (taken if fits else left).append(part)
    method.load_state_dict({key: value for key, value in found.items() if key.partition(".")[0] in taken}, strict=False)
    result = f"the encoder and {', '.join(taken)} of {start.path}" if taken else f"the encoder of {start.path}"
    return result + (f"; not loaded, since they are of another size: {', '.join(left)}" if left else "")
