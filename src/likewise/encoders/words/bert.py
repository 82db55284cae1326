"""BERT's encoder (Devlin et al., NAACL 2019, arXiv 1810.04805), the parts that encoding sentences needs.

Shapes: B sentences, L words, W width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn


class Layer(nn.Module):
    """Attention and a perceptron, each added and then normalised."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, eps = int(config["hidden_size"]), float(config["layer_norm_eps"])
        self.heads = int(config["num_attention_heads"])
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output, self.norm = nn.Linear(width, width), nn.LayerNorm(width, eps=eps)
        self.wide = nn.Linear(width, int(config["intermediate_size"]))
        self.narrow, self.last_norm = nn.Linear(self.wide.out_features, width), nn.LayerNorm(width, eps=eps)

    def forward(self, x_BLW: Tensor, seen_B11L: Tensor) -> Tensor:
        """(B, L, W)."""
        shape = (*x_BLW.shape[:2], self.heads, -1)
        q, k, v = (part(x_BLW).reshape(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        read_BLW = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_B11L).transpose(1, 2).flatten(2)
        x_BLW = self.norm(x_BLW + self.output(read_BLW))
        return cast("Tensor", self.last_norm(x_BLW + self.narrow(F.gelu(self.wide(x_BLW)))))


class Bert(nn.Module):
    """(B, L) codes of words and which of them are words -> (B, L, W)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.features = width = int(config["hidden_size"])
        self.words = nn.Embedding(int(config["vocab_size"]), width)
        self.places = nn.Embedding(int(config["max_position_embeddings"]), width)
        self.kinds = nn.Embedding(int(config["type_vocab_size"]), width)
        self.norm = nn.LayerNorm(width, eps=float(config["layer_norm_eps"]))
        self.layers = nn.ModuleList(Layer(config) for _ in range(int(config["num_hidden_layers"])))

    def forward(self, codes_BL: Tensor, words_BL: Tensor) -> Tensor:
        """The states of the last layer."""
        place_L = torch.arange(codes_BL.shape[1], device=codes_BL.device)
        x_BLW = self.norm(self.words(codes_BL) + self.places(place_L) + self.kinds.weight[0])
        for layer in self.layers:
            x_BLW = layer(x_BLW, words_BL[:, None, None].bool())
        return cast("Tensor", x_BLW)


_NAMES = {
    "embeddings.word_embeddings": "words",
    "embeddings.position_embeddings": "places",
    "embeddings.token_type_embeddings": "kinds",
    "embeddings.LayerNorm": "norm",
    "encoder.layer": "layers",
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "output",
    "attention.output.LayerNorm": "norm",
    "intermediate.dense": "wide",
    "output.dense": "narrow",
    "output.LayerNorm": "last_norm",
}
"""What the parts are called in published files, and here; longer names first where one is in another."""


def read_bert(folder: Path) -> Bert:
    """The network of a folder with config.json and model.safetensors, in eval mode."""
    network = Bert(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    weights = {}
    for name, value in load_file(folder / "model.safetensors").items():
        for published, own in _NAMES.items():
            name = name.replace(published, own)  # noqa: PLW2901  # step by step
        if not name.startswith("pooler") and not name.endswith("position_ids"):
            weights[name] = value
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
