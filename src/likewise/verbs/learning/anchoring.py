"""The options `--anchor` and `--compatible-with`.

The frozen encoder is stored with the run, and at the end the compatibility with its vectors is measured.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from likewise.data import Images
from likewise.encoders import Encoder, load_encoder, save_encoder
from likewise.encoders.files.store import weights_digest
from likewise.encoders.neck import without_neck
from likewise.errors import InputError
from likewise.evaluation import extract
from likewise.methods.method import Method
from likewise.runs import RunDirectory
from likewise.similarity import unit
from likewise.teachers import Teacher, of_encoder, teachers_in, trained_encoder
from likewise.training.anchor import anchored_part
from likewise.training.assembling import RunParts
from likewise.training.planning.resolve import Plan
from likewise.training.start import Start
from likewise.upgrading.adapters import MOST, ridge
from likewise.upgrading.measures import Truth, answerable, bootstrap, found_of, neighbours_of

KEPT = Path("anchor") / "encoder.safetensors"
"""Where in a run the encoder lies as it was before the first step."""
SETTING = "compatible_with"
LOOKED_AT = 2000
"""Images that old and new vectors are compared on, evenly spread."""


def comparable(plan: Plan) -> Plan:
    """The plan with a layer behind the encoder's features, of the length of the older encoder's vectors.

    Raises InputError where there is no such encoder.
    """
    if not plan.compatible_with:
        return plan
    length = trained_encoder(plan.compatible_with, SETTING).features
    return replace(plan, encoder=replace(plan.encoder, neck=length, neck_form="linear"))


@torch.no_grad()
def fit_necks(method: Method, known: Teacher, images: Images, engine: Fabric) -> None:
    """Once trained: the last layer of each encoder becomes the ridge map of its features to the older vectors.

    What gradients made of that layer is a compromise with the method's loss; this is the best for the features.
    """
    index = np.unique(np.linspace(0, len(images) - 1, min(MOST, len(images))).astype(np.int64))
    old_NT = known.look_up(torch.from_numpy(index)).float().cpu()
    spec, frozen = anchored_part(method).spec, {part for one in teachers_in(method) for part in one.modules()}
    for encoder in [part for part in method.modules() if isinstance(part, Encoder) and part not in frozen]:
        if encoder.neck is None or encoder.spec != spec:
            continue
        pooled_NF = extract(without_neck(encoder), images.subset(index), device=engine.device).float().cpu()
        matrix_FT, constant_T = engine.broadcast(ridge(pooled_NF, old_NT))  # processes need not round alike
        encoder.neck.weight.copy_(matrix_FT.T)
        encoder.neck.bias.copy_(constant_T)


def held_to(run: RunDirectory, parts: RunParts, plan: Plan, start: Start | None, engine: Fabric) -> Teacher:
    """The encoder that a run is anchored to, which looks its vectors up: that which it began with, or an older one.

    It is written into a run that has none yet, with the image size that it was used at, which need not be the run's.
    Raises InputError where the method or its data do not go with an anchor.
    """
    student, path = anchored_part(parts.method), run.path / KEPT
    if parts.order.batch(0).ndim > 1:
        raise InputError("anchor holds vectors of single images, and this method learns from clips: leave it out")
    if engine.is_global_zero and not path.is_file():
        older, own = plan.compatible_with, student if start is None else start.encoder
        save_encoder(trained_encoder(older, SETTING) if older else own, path)
    engine.barrier()
    known, spec = load_encoder(path), student.spec
    key, how = weights_digest(path), {"image_size": spec.image_size, "mean": spec.mean, "std": spec.std}
    return of_encoder(known, name="the anchor", key=key, cached=True, **how)  # type: ignore[arg-type]


def held(method: Method, known: Teacher, images: Images, device: torch.device) -> dict[str, Any]:
    """What an anchored run gained on these images, and what vectors stored before are still worth: for run.json.

    `cosine` is the mean between the two vectors of an image. `recall` is recall@10 of the neighbours that the old
    encoder finds, asked for with new vectors among old ones. With labels (recall@1 by class) `old`, `across` and `new`
    say what old queries find among old vectors, new ones among old, and new ones among new; `gain` is new less old.
    Each with its 95 % interval over the queries.
    """
    index = np.unique(np.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).astype(np.int64))
    encoder = method.encoders()[method.card.deploy]
    assert isinstance(encoder, Encoder)
    new_ND = extract(encoder, images.subset(index), device=device).float().cpu()
    old_ND = known.look_up(torch.from_numpy(index)).float().cpu()
    every_N = torch.arange(len(index))
    near = neighbours_of(old_ND, old_ND, every_N)
    found: dict[str, Any] = {
        "images": len(index),
        "cosine": float((unit(new_ND) * unit(old_ND)).sum(1).mean()),
        "recall": bootstrap(found_of(new_ND, old_ND, every_N, near).numpy())._asdict(),
    }
    if images.labels is not None:
        found |= _by_class(old_ND, new_ND, torch.from_numpy(images.labels[index]))
    return found


def _by_class(old_ND: torch.Tensor, new_ND: torch.Tensor, labels_N: torch.Tensor) -> dict[str, Any]:
    """Recall@1 by class of the three ways to ask; nothing where no image has another of its class."""
    try:
        own_Q = answerable(torch.arange(len(labels_N)), labels_N)
    except InputError:
        return {}
    truth = Truth(labels_N=labels_N)
    ways = {"old": (old_ND, old_ND), "across": (new_ND, old_ND), "new": (new_ND, new_ND)}
    right = {name: found_of(asks[own_Q], among, own_Q, truth).numpy() for name, (asks, among) in ways.items()}
    intervals = {name: bootstrap(values)._asdict() for name, values in right.items()}
    return {**intervals, "gain": bootstrap(right["new"] - right["old"])._asdict()}
