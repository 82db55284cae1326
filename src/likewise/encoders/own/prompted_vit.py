"""ViTs with learnable prompts at every block (deep prompts; VPT, arXiv 2203.12119; PromptCAL, arXiv 2212.05590).

Before each block P tokens of that block are put between class token and patches; what the last block makes of its own
is a second answer beside the class token, and what the others make of theirs is dropped. Prompts have no position.
timm's keys, and `prompts` (blocks, P, C), drawn from a normal distribution of deviation 0.02 that is cut off at two.
"""

from __future__ import annotations

from typing import Any

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm
import torch
from timm.models import PretrainedCfg, build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from torch import Tensor, nn

PROMPTS = 5


class PromptedViT(VisionTransformer):
    """A ViT whose pooled features and map are as usual, and which says what became of the last block's prompts."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prompts = nn.Parameter(torch.empty(len(self.blocks), PROMPTS, int(self.embed_dim)))
        nn.init.trunc_normal_(self.prompts, std=0.02)

    def with_prompts(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Class token and patches (B, 1 + N, C), and the last block's prompts (B, P, C), after the last norm."""
        tokens_BLC, _ = self._through(x_B3HW)
        tokens_BLC = self.norm(tokens_BLC)
        return _without_prompts(tokens_BLC), tokens_BLC[:, 1 : 1 + PROMPTS]

    def forward_features(self, x_B3HW: Tensor, *_: Any, **__: Any) -> Tensor:  # type: ignore[override]  # without masks
        """(B, 3, H, W) -> (B, 1 + N, C), class token and patches."""
        return self.with_prompts(x_B3HW)[0]

    def forward_intermediates(  # type: ignore[override]  # what `Encoder` asks for, of the many forms timm has
        self, x_B3HW: Tensor, *, norm: bool = False, output_fmt: str = "NCHW", **_: Any
    ) -> tuple[Tensor, list[Tensor]]:
        """The last tokens, without prompts, and the patches after every block as maps (B, C, h, w)."""
        if output_fmt != "NCHW":
            raise ValueError(f"maps are NCHW, not {output_fmt}")
        tokens_BLC, stages = self._through(x_B3HW)
        tokens_BLC = self.norm(tokens_BLC)
        if norm:
            stages[-1] = tokens_BLC
        sides = zip(x_B3HW.shape[-2:], self.patch_embed.patch_size, strict=True)
        height, width = (side // patch for side, patch in sides)
        batch, _, channels = tokens_BLC.shape
        maps = [each[:, 1 + PROMPTS :].mT.reshape(batch, channels, height, width) for each in stages]
        return _without_prompts(tokens_BLC), maps

    def _through(self, x_B3HW: Tensor) -> tuple[Tensor, list[Tensor]]:
        """All tokens after the last block, and after each."""
        tokens_BLC = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(x_B3HW))))
        stages = []
        for number, block in enumerate(self.blocks):
            own_BPC = self.prompts[number].expand(len(tokens_BLC), -1, -1).to(tokens_BLC.dtype)
            patches_BNC = tokens_BLC[:, 1 + (PROMPTS if number else 0) :]
            tokens_BLC = block(torch.cat([tokens_BLC[:, :1], own_BPC, patches_BNC], dim=1))
            stages.append(tokens_BLC)
        return tokens_BLC, stages


def _without_prompts(tokens_BLC: Tensor) -> Tensor:
    return torch.cat([tokens_BLC[:, :1], tokens_BLC[:, 1 + PROMPTS :]], dim=1)


def _filter(state: dict[str, Tensor], model: PromptedViT) -> dict[str, Tensor]:
    """Published weights of the ViT without prompts, and the prompts as they were drawn: all else has to be there."""
    return {**checkpoint_filter_fn(state, model), "prompts": model.prompts.data}


def _published(name: str) -> PretrainedCfg:
    """Where the weights of a ViT without prompts are."""
    found = timm.get_pretrained_cfg(name)
    assert found is not None, f"timm has no {name}"
    return found


default_cfgs = generate_default_cfgs(
    {
        "vit_base_patch16_prompts.dino": _published("vit_base_patch16_224.dino"),
        "vit_small_patch16_prompts.dino": _published("vit_small_patch16_224.dino"),
        "vit_tiny_patch16_prompts.untrained": {"input_size": (3, 224, 224), "fixed_input_size": True},
    }
)
"""As timm looks for them; published weights are those of DINO's ViTs."""


def _made(variant: str, pretrained: bool, sizes: dict[str, int], kwargs: dict[str, Any]) -> PromptedViT:
    model: PromptedViT = build_model_with_cfg(
        PromptedViT,
        variant,
        pretrained,
        pretrained_filter_fn=_filter,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **{"patch_size": 16, "depth": 12, **sizes, **kwargs},
    )
    return model


@register_model
def vit_tiny_patch16_prompts(pretrained: bool = False, **kwargs: Any) -> PromptedViT:
    """ViT-Ti/16 with prompts."""
    return _made("vit_tiny_patch16_prompts", pretrained, {"embed_dim": 192, "num_heads": 3}, kwargs)


@register_model
def vit_small_patch16_prompts(pretrained: bool = False, **kwargs: Any) -> PromptedViT:
    """ViT-S/16 with prompts."""
    return _made("vit_small_patch16_prompts", pretrained, {"embed_dim": 384, "num_heads": 6}, kwargs)


@register_model
def vit_base_patch16_prompts(pretrained: bool = False, **kwargs: Any) -> PromptedViT:
    """ViT-B/16 with prompts, PromptCAL's."""
    return _made("vit_base_patch16_prompts", pretrained, {"embed_dim": 768, "num_heads": 12}, kwargs)
