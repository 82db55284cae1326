"""Probes of runs with texts: `zeroshot`, classes by their names; `captions`, retrieval between images and captions.

Shapes: Q images, C classes, U captions, T templates, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from likewise.data import Images
from likewise.data.texts import texts_of as captions_of
from likewise.errors import InputError
from likewise.evaluation.intervals import wilson
from likewise.evaluation.probes.protocol import Features, ProbeSettings
from likewise.evaluation.scores import Score
from likewise.methods.words import images_of, nearest_texts, texts_of, with_words
from likewise.runs import RunDirectory
from likewise.similarity import unit

RANKS = (1, 5, 10)
"""K of recall among the K nearest."""


def zeroshot_scores(run: RunDirectory | None, features: Features, settings: ProbeSettings) -> list[Score]:
    """Accuracy where each image gets the class whose name is nearest. Raises InputError without words or names."""
    run = _speaking(run, "zeroshot")
    if not features.class_names:
        raise InputError("the probe zeroshot reads the names of the classes, and this data has numbers: give names")
    names_CD = class_vectors(run, features.class_names, settings.templates)
    image_QD = images_of(run, features.query_QF)
    predicted_Q = nearest_texts(image_QD, names_CD, 1)[1][:, 0]
    result = "the names alone" if settings.templates == ("{}",) else f"the mean over {list(settings.templates)}"
    words = f"zero-shot, no label used: nearest of {len(names_CD)} class names by cosine, {result}"
    return [features.score("zeroshot", None, predicted_Q, words)]


def class_vectors(run: RunDirectory, names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """(C, D) unit vectors of class names, the mean over templates, in which {} stands for the name."""
    plain = [" ".join(name.replace("_", " ").split()) or name for name in names]
    each_TCD = [texts_of(run, [template.replace("{}", name) for name in plain]) for template in templates]
    return unit(torch.stack(each_TCD).mean(0))


def caption_scores(
    run: RunDirectory | None, images: Images, column: str, features: Features, settings: ProbeSettings
) -> list[Score]:
    """R@1, 5 and 10 both ways: images whose K nearest captions hold one of theirs, captions whose K nearest images do.

    All images of the queries that have a caption, with all their captions, those that are equal counting as one.
    Raises InputError where no image has any.
    """
    run = _speaking(run, "captions")
    found = captions_of(images.columns[column])
    codes_Q = images.columns[column].values
    kept = np.flatnonzero(np.append(found.count_C, 0)[codes_Q] > 0)
    if not len(kept):
        raise InputError(f"no image of {images.name} has a caption in the column {column!r}")
    own = [set(found.of(int(codes_Q[row]))) for row in kept]
    strings = sorted({text for texts in own for text in texts})
    number = {text: at for at, text in enumerate(strings)}
    fits_QU = torch.zeros(len(kept), len(strings), dtype=torch.bool)
    for row, texts in enumerate(own):
        fits_QU[row, [number[text] for text in texts]] = True
    image_QD = images_of(run, features.query_QF[torch.from_numpy(kept)])
    text_UD = texts_of(run, strings)
    scores = []
    for variant, queries, gallery, fits in (
        ("image to text", image_QD, text_UD, fits_QU),
        ("text to image", text_UD, image_QD, fits_QU.T),
    ):
        hits_QK = fits.gather(1, nearest_texts(queries, gallery, max(settings.k or RANKS))[1])
        for k in settings.k or RANKS:
            right = int(hits_QK[:, :k].any(1).sum())
            protocol = f"{len(queries):,} queries, the {k} nearest of {len(gallery):,} by cosine"
            scores.append(
                features.measured(
                    "captions", k, right / len(queries), protocol, measure="recall", variant=variant,
                    interval=wilson(right, len(queries)),
                )
            )  # fmt: skip
    return scores


def caption_column_of(run: RunDirectory | None) -> str:
    """The column of captions that a run learned from. Raises InputError without words."""
    return str(getattr(with_words(_speaking(run, "captions")), "settings").captions)  # noqa: B009  # of its own kind


def _speaking(run: RunDirectory | None, probe: str) -> RunDirectory:
    if run is None:
        raise InputError(f"the probe {probe} compares images with texts: name the directory of a run that reads them")
    with_words(run)
    return run
