"""A layer after an encoder's pooled features that gives its vectors another length, such as an older encoder's.

It is part of the encoder: described in its spec, saved and loaded with it. Shapes: B images, F pooled features, D the
length of the vectors.
"""

from __future__ import annotations

from dataclasses import replace

from likewise.encoders.encoder import Encoder
from likewise.encoders.spec import NeckForm


def with_neck(encoder: Encoder, length: int, form: NeckForm = "linear") -> Encoder:
    """The same backbone with vectors of `length` dimensions; the encoder itself where they have that length already.

    `linear`: a layer drawn from torch's generator. `cut`: the first `length` features, zeros behind them where there
    are fewer (BCT, arXiv 2003.11942, section 3.3). Raises InputError for a length that cannot be.
    """
    if encoder.features == length:
        return encoder
    return Encoder(replace(encoder.spec, neck=length, neck_form=form), encoder.backbone)


def without_neck(encoder: Encoder) -> Encoder:
    """The same backbone with its pooled features as they are."""
    return Encoder(replace(encoder.spec, neck=0), encoder.backbone) if encoder.spec.neck else encoder
