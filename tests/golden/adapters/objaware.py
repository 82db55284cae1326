"""Object-aware contrast: ContraCAM in the published and in the per-image form, and backgrounds for mixing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from adapters import Vectors, same
from likewise.localisation.contracam import localise
from likewise.views.backgrounds import background_mixup, background_only

TOLERANCE = 1e-5


def check_contracam(v: Vectors) -> None:
    def network(image: Tensor) -> tuple[Tensor, Tensor]:
        last = F.conv2d(image, v["conv_weight"], v["conv_bias"], stride=v.number("conv_stride"))
        last = F.relu(last).requires_grad_(True)
        return last, F.linear(last.mean((2, 3)), v["proj_weight"], v["proj_bias"])

    images, colour = v["images"].double(), v["mask_color"]
    same(images.mean((0, 2, 3)), colour, TOLERANCE)
    for name, over_batch in (("official", True), ("perimage", False)):
        found = localise(network, images, v.number("n_iters"), colour_3=colour, over_batch=over_batch)
        same(found.maps, v[f"cams_{name}"].double(), TOLERANCE)
        same(found.mask, v[f"mask_{name}"].double(), TOLERANCE)


def check_backgrounds(v: Vectors) -> None:
    image, mask = v["bg_images"].double(), v["bg_soft_masks"].double().unsqueeze(1)
    filled = background_only(image, mask, v.number("bg_threshold"))
    assert filled.rectangle.equal(v["bg_rect_hmin_hmax_wmin_wmax"])
    assert filled.there.equal(v["bg_exists"])
    painted = torch.where(filled.there.view(-1, 1, 1, 1), filled.image, v["bg_only"])
    same(painted, v["bg_only"], TOLERANCE)
    same(background_mixup(image, mask, filled, v["bg_perm"]), v["bg_mixed_emptyqueue"], TOLERANCE)
