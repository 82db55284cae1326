"""`likewise.trial`: compares untrained, pretrained, distilled and self-supervised encoders on a sample."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch

from likewise import teachers
from likewise.data import Images, cached_side, describe, open_source, prepare, split_names, training_split
from likewise.data.source import Part, Source
from likewise.encoders import Encoder, build, load_encoder
from likewise.encoders.files.chosen import choose
from likewise.encoders.files.published import at_hand
from likewise.encoders.spec import IMAGENET_MEAN, IMAGENET_STD
from likewise.errors import InputError
from likewise.teachers.own_side import at_side
from likewise.training.assembling import data_facts
from likewise.training.planning.asked import Asked
from likewise.training.planning.machine import detect
from likewise.training.planning.resolve import Plan, image_size, resolve
from likewise.verbs.learning.teaching import speed
from likewise.verbs.learning.train import train
from likewise.verbs.learning.trying.measures import EncoderScore, measure
from likewise.verbs.learning.trying.verdict import FEWEST, Arm, Verdict, conclude

SAMPLE, PER_MINUTE, LEAST = 6000, 1000, 500
"""Most images that are tried with; images for each minute; and as many at least, where there are."""
HELD_OUT = 0.3
"""Share of them that no arm is trained on."""
TRAINED = 0.6
"""Share of the time that is trained for at least, however long measuring takes."""
LOOKED = 0.4
"""Share of the time that the teacher may look at images for: at all of them as it is measured, at those that are not
held out to teach. Of a slow one fewer images are drawn."""
ENOUGH = math.ceil(FEWEST / (1 - HELD_OUT))
"""Images of which as many as training needs are not held out."""
METHODS = {"distilled": "simreg", "self-supervised": "isd"}
"""What the trained arms learn by."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """The result of a trial."""

    verdict: Verdict
    """What to do."""
    reason: str
    """Why, with the interval of the difference."""
    arms: tuple[Arm, ...]
    """The encoders."""
    measure: str
    """What the score is."""
    images: int
    """Images trained on."""
    held_out: int
    """Images measured on."""

    def to_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "arms": [arm.to_json() for arm in self.arms],
            "measure": self.measure,
            "images": self.images,
            "held_out": self.held_out,
        }

    def to_text(self) -> str:
        """For a person."""
        lines = [f"{self.measure}; {self.images:,} images to train on, {self.held_out:,} others to measure on", ""]
        for arm in self.arms:
            found = arm.measured
            few = "".join(f"  {words} {share:.1%}" for words, share in found.labels.items())
            lines.append(
                f"{arm.name:<16} {found.score:6.1%}  ({found.low:.1%} to {found.high:.1%})  {arm.minutes:5.1f} min  "
                f"rank {found.rank:.0f}  {arm.about}{few}"
            )
        return "\n".join([*lines, "", f"verdict {self.verdict}", f"reason  {self.reason}"])


def trial(
    data: Any,
    *,
    minutes: float = 15.0,
    teacher: Any = "",
    encoder: str = "resnet18",
    split: str | None = None,
    labels: str | None = None,
    device: str | None = None,
    seed: int = 0,
) -> Trial:
    """Try on a sample of `data` whether training an encoder on it helps, within about `minutes`.

    A sample of 1,000 images a minute is drawn (500 to 6,000 in all) and 30 % of it held out. Arms: the encoder that
    `train` would choose, untrained; the `teacher` as it is (or, without one, the encoder's published weights, where
    they are on this machine); that encoder distilled from the teacher (simreg, looked up); and trained without labels
    (isd), the last two for equal time. With labels the score is the accuracy of the ten nearest neighbours on the held-
    out images; without, the share of neighbours that two crops of an image have in common, which is a hint and no more.

    Raises InputError for anything that cannot be, before anything is trained.
    """
    if not 0 < minutes < float("inf"):
        raise InputError(f"minutes={minutes:g} must be greater than 0 and finite, such as 15")
    began, teacher = time.monotonic(), teachers.named(teacher)
    teachers.check_pretrained(teacher)
    wanted = Asked(encoder=encoder, device=cast("Any", device), minutes=minutes, seed=seed)
    machine = detect(wanted.device)
    whole = _opened(data, split, labels)
    side = round(describe(whole).side)
    sized = image_size(wanted, side, machine.device)
    most = _seen_in(LOOKED * minutes, teacher, int(sized.value), machine.device)
    held = _halves(_sample(whole, seed, min(SAMPLE, max(LEAST, round(PER_MINUTE * minutes)), most)), seed)
    teachers.check_covers({"teacher": teacher}, held[0].names)
    images = [prepare(part, short_side=cached_side(int(sized.value))) for part in held]
    teachers.check_covers({"teacher": teacher}, images[0].names, decoded=True)
    labelled = all(_labelled(part) for part in images)
    from likewise import methods

    facts = data_facts(images[0], side)
    plan = resolve(wanted, {}, methods.find(METHODS["self-supervised"]), facts, machine, sized)
    arms = [_arm("untrained", build(plan.encoder, seed=seed), images, 0.0, plan.encoder.name, labelled, plan.device)]
    known, note = _pretrained(teacher, plan, encoder)
    if known is not None:
        seen = [prepare(part, short_side=cached_side(known.spec.image_size)) for part in held]
        arms.append(_arm("pretrained", known, seen, 0.0, note, labelled, plan.device))
    trained = ["self-supervised", *(["distilled"] if teacher else [])]
    if len(images[0]) >= FEWEST:
        left = minutes - (time.monotonic() - began) / 60
        share = max(left, TRAINED * minutes) / len(trained)
        arms += [_trained(name, held[0], images, share, teacher, plan, labelled) for name in trained]
    verdict, reason = conclude(arms, len(images[0]))
    if not labelled:
        reason += (
            "; a hint: training makes crops of an image alike by design, and a few labels of each class would tell"
        )
    words = "accuracy of 10 nearest neighbours" if labelled else "neighbours that two crops have in common (no labels)"
    return Trial(verdict, reason, tuple(arms), words, len(images[0]), len(images[1]))


def _opened(data: Any, split: str | None, labels: str | None) -> Source:
    """The training images."""
    source = open_source(data, split=split or training_split(split_names(data)), labels=labels)
    if len(source) < 4:
        raise InputError(f"{source.name} holds {len(source)} images: a trial needs 4 at least, and {FEWEST} to train")
    return source


def _seen_in(minutes: float, teacher: str, side: int, device: str) -> int:
    """Images that a trial may draw so that the teacher looks at them in `minutes`; at least those that training needs.

    It looks at all of them once, and once more at those that are not held out.
    """
    if not teacher:
        return SAMPLE
    found = teachers.pretrained(teacher, image_size=side, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    per_second = speed(found.to(torch.device(device)))
    return SAMPLE if per_second is None else max(ENOUGH, int(60 * minutes * per_second / (2 - HELD_OUT)))


def _sample(source: Source, seed: int, count: int) -> Source:
    """`count` of the images, drawn from `seed`."""
    order = np.random.default_rng(seed).permutation(len(source))[:count]
    return replace(Part.of(source, np.sort(order)), splits=(), split=None)


def _halves(source: Source, seed: int) -> tuple[Source, Source]:
    """The images to train on and those that are held out."""
    order = np.random.default_rng(seed + 1).permutation(len(source))
    count = max(1, round(HELD_OUT * len(source)))
    return Part.of(source, np.sort(order[count:])), Part.of(source, np.sort(order[:count]))


def _labelled(images: Images) -> bool:
    """Whether two classes or more are known."""
    return images.labels is not None and len(np.unique(images.labels[images.labels >= 0])) > 1


def _pretrained(teacher: str, plan: Plan, encoder: str) -> tuple[Encoder | None, str]:
    """The encoder that somebody else trained, and what it is; None where there is none on this machine."""
    spec = plan.encoder
    if teacher:
        found = teachers.pretrained(teacher, image_size=spec.image_size, mean=spec.mean, std=spec.std)
        return found.encoder, f"{teacher} as it is"
    with suppress(InputError):
        if at_hand(encoder):
            found = teachers.pretrained(encoder, image_size=spec.image_size, mean=spec.mean, std=spec.std)
            return found.encoder, f"{encoder}, published weights"
    return None, ""


def _trained(
    name: str, source: Source, images: list[Images], minutes: float, teacher: str, plan: Plan, labelled: bool
) -> Arm:
    """An arm trained for so long, the teacher's pass over the images included."""
    taught: Mapping[str, Any] = {"teacher": teacher, "cached": True} if name == "distilled" else {}
    began = time.monotonic()
    if taught:
        _look(teacher, source, images[0], plan)
        minutes = max(0.05, minutes - (time.monotonic() - began) / 60)
    with TemporaryDirectory() as folder:
        run = train(
            source,
            method=METHODS[name],
            encoder=plan.encoder.name,
            image_size=plan.encoder.image_size,
            device=plan.device,
            minutes=minutes,
            seed=plan.seed,
            out=str(Path(folder) / name),
            report=False,
            online_probe=False,
            quiet=True,
            loggers=(),
            **taught,
        )
        encoder = load_encoder(choose(run.path, None).path)
    took = (time.monotonic() - began) / 60
    about = f"{plan.encoder.name} by {METHODS[name]}" + (f" from {teacher}" if taught else "")
    return _arm(name, encoder, images, took, about, labelled, plan.device)


def _look(teacher: str, source: Source, images: Images, plan: Plan) -> None:
    """Make the vectors of a teacher that training will look up, or find those that were made before."""
    spec = plan.encoder
    found = teachers.pretrained(teacher, image_size=spec.image_size, mean=spec.mean, std=spec.std, cached=True)
    device = torch.device(plan.device)
    found.to(device).fill(images, device, larger=at_side(source, images, found.own_size, spec.image_size))


def _arm(
    name: str, encoder: Encoder, images: list[Images], minutes: float, about: str, labelled: bool, device: str
) -> Arm:
    """Measure an encoder."""
    encoder.to(torch.device(device))
    found: EncoderScore = measure(encoder, images[0], images[1], labelled=labelled)
    size = sum(weight.numel() for weight in encoder.parameters())
    _LOG.info("trial: %s %.3f", name, found.score)
    return Arm(cast("Any", name), found, minutes, size, about)
