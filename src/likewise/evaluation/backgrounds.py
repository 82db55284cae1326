"""Images on other backgrounds, composed from masks: how far scores depend on the background.

After the Background Challenge (Xiao et al., ICLR 2021, arXiv 2006.09994). Shapes: N images of S x S pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.views.backgrounds import background_only, composite

Kind = Literal["original", "mixed_same", "mixed_rand", "only_fg", "only_bg"]
KINDS: tuple[Kind, ...] = ("original", "mixed_same", "mixed_rand", "only_fg", "only_bg")


def recomposed(image_N3SS: Tensor, mask_N1SS: Tensor, labels_N: Tensor, kind: Kind, *, seed: int = 0) -> Tensor:
    """(N, 3, S, S) the images, in [0, 1], with another background behind the object that the mask marks.

    `mixed_same`: that of another image of the class; `mixed_rand`: of any other image; `only_fg`: black; `only_bg`:
    their own, the object filled by the largest strip of it. Where there is no other image, or its background is not
    known, the image's own is kept. Raises InputError for other words and for numbers that do not fit.
    """
    if kind not in KINDS:
        raise unknown("kind of background", kind, KINDS)
    if not len(image_N3SS) == len(mask_N1SS) == len(labels_N):
        raise InputError(f"{len(image_N3SS)} images have {len(mask_N1SS)} masks and {len(labels_N)} labels")
    if kind == "original":
        return image_N3SS
    if kind == "only_fg":
        return composite(image_N3SS, mask_N1SS, torch.zeros_like(image_N3SS))
    own = background_only(image_N3SS, mask_N1SS)
    if kind == "only_bg":
        return own.image
    groups = labels_N if kind == "mixed_same" else torch.zeros_like(labels_N)
    partner_N = _partners(groups, torch.Generator().manual_seed(seed))
    mixed = composite(image_N3SS, mask_N1SS, own.image[partner_N])
    return torch.where(own.there[partner_N].view(-1, 1, 1, 1), mixed, image_N3SS)


def _partners(groups_N: Tensor, generator: torch.Generator) -> Tensor:
    """(N,) for each row another one of its group; itself where it is alone."""
    partner_N = torch.arange(len(groups_N))
    for group in torch.unique(groups_N):
        rows = (groups_N == group).nonzero().flatten()
        order = rows[torch.randperm(len(rows), generator=generator)]
        partner_N[order] = order.roll(1)
    return partner_N
