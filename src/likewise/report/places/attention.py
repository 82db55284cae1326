"""Attention of a transformer's class token, from the queries and keys of its last block."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from likewise.encoders import Encoder


def class_attention(encoder: Encoder, image_N3SS: Tensor) -> Tensor | None:
    """(N, h, w) how much the class token looks at each patch in the last block: softmax(q k / sqrt(d)), mean of heads.

    None for encoders without a class token, and for blocks whose queries and keys are not made by one layer `qkv`.
    """
    blocks = getattr(encoder.backbone, "blocks", None)
    attention: Any = getattr(blocks[-1], "attn", None) if isinstance(blocks, nn.Sequential) and len(blocks) else None
    prefix = int(getattr(encoder.backbone, "num_prefix_tokens", 0) or 0)
    has_class = getattr(encoder.backbone, "cls_token", None) is not None
    if not has_class or not isinstance(getattr(attention, "qkv", None), nn.Linear):
        return None
    made: list[Tensor] = []
    handle = attention.qkv.register_forward_hook(lambda _layer, _inputs, output: made.append(output.detach()))
    try:
        height, width = encoder.map(image_N3SS).shape[-2:]
    finally:
        handle.remove()
    count, tokens, _ = made[-1].shape
    qkv_3NHTd = made[-1].float().view(count, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    query_NHTd, key_NHTd = attention.q_norm(qkv_3NHTd[0]), attention.k_norm(qkv_3NHTd[1])
    logits_NHT = (query_NHTd[:, :, :1] @ key_NHTd.transpose(2, 3)).squeeze(2) * key_NHTd.shape[-1] ** -0.5
    patches_NT: Tensor = logits_NHT.softmax(2).mean(1)[:, prefix:]
    return patches_NT.reshape(count, height, width).cpu()
