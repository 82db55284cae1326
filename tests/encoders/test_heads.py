"""The heads of the papers, layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from likewise.encoders import heads
from likewise.errors import InputError


def layers(head: nn.Sequential) -> list[str]:
    """`8>16b` is a linear layer with bias from 8 to 16; other layers by the first letters of their class."""
    return [
        f"{layer.in_features}>{layer.out_features}{'b' if layer.bias is not None else ''}"
        if isinstance(layer, nn.Linear)
        else {"BatchNorm1d": "bn", "ReLU": "relu", "GELU": "gelu"}[type(layer).__name__]
        for layer in head
    ]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(heads.mlp((8, 16, 2)), ["8>16b", "bn", "relu", "16>2b"], id="isd_plus projector"),
        pytest.param(heads.mlp((8, 8, 8), hidden_bias=False), ["8>8", "bn", "relu", "8>8b"], id="isd predictor"),
        pytest.param(heads.mlp((8, 64, 4), last_bias=False), ["8>64b", "bn", "relu", "64>4"], id="byol"),
        pytest.param(heads.mlp((8, 8, 4), hidden_norm=None), ["8>8b", "relu", "8>4b"], id="moco_v2"),
        pytest.param(heads.mlp((8, 4)), ["8>4b"], id="moco_v1"),
        pytest.param(
            heads.mlp((8, 9, 9, 9), hidden_bias=False, last_bias=False),
            ["8>9", "bn", "relu", "9>9", "bn", "relu", "9>9"],
            id="barlow_twins",
        ),
        pytest.param(
            heads.mlp((8, 6, 6, 4), hidden_norm=None, activation="gelu"),
            ["8>6b", "gelu", "6>6b", "gelu", "6>4b"],
            id="dino",
        ),
        pytest.param(
            heads.mlp((8, 6, 4), last_norm="batch"), ["8>6b", "bn", "relu", "6>4b", "bn"], id="nnclr projector"
        ),
    ],
)
def test_layers(head: nn.Sequential, expected: list[str]) -> None:
    assert layers(head) == expected
    assert head(torch.randn(3, 8)).shape[0] == 3


def test_last_norm_without_affine_has_no_parameters() -> None:
    head = heads.mlp((8, 4), last_bias=False, last_norm="batch_no_affine")
    assert list(head.state_dict()) == [
        "0.weight",
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    ]
    assert head(torch.randn(50, 8)).std(0, correction=0).tolist() == pytest.approx([1.0] * 4, abs=1e-3)


def test_initialise_draws_weights_and_clears_biases() -> None:
    head = heads.initialise(heads.mlp((300, 300, 300), activation="gelu"), 0.02, truncated=True)
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert torch.count_nonzero(layer.bias) == 0


def test_prototypes_score_cosines_until_their_gain_is_learned() -> None:
    scores = heads.WeightNormalisedLinear(6, 10).double()
    z = torch.nn.functional.normalize(torch.randn(4, 6, dtype=torch.float64), dim=1)
    expected = nn.CosineSimilarity(dim=2)(z[:, None], scores.weight_v[None])
    torch.testing.assert_close(scores(z), expected)
    with torch.no_grad():
        scores.weight_g.mul_(3)
    torch.testing.assert_close(scores(z), 3 * expected)
    scores(z).sum().backward()
    assert scores.weight_g.grad is None
    assert heads.WeightNormalisedLinear(6, 10, train_gain=True).weight_g.requires_grad


def test_prototypes_begin_as_the_weights_of_a_linear_layer() -> None:
    weights = heads.WeightNormalisedLinear(256, 4000).weight_v.detach()
    assert float(weights.abs().max()) <= 1 / 16
    assert float(weights.norm(dim=1).mean()) == pytest.approx(3**-0.5, abs=0.005)


def test_a_batch_norm_without_shift_learns_its_scale_alone() -> None:
    head = heads.mlp([4, 6], last_bias=False, last_norm="batch_no_shift")
    x = torch.randn(32, 4)
    head(x).square().mean().backward()
    assert [name for name, p in head.named_parameters() if p.grad is not None] == ["0.weight", "1.weight"]
    torch.testing.assert_close(head(x).mean(0), torch.zeros(6), atol=1e-6, rtol=0)


def test_prototypes_return_to_the_sphere() -> None:
    layer = heads.Prototypes(6, 10)
    torch.testing.assert_close(layer.weight.norm(dim=1), torch.ones(10))
    direction = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.mul_(3)
    layer.normalise()
    torch.testing.assert_close(layer.weight.detach(), direction)
    z = torch.randn(4, 6)
    torch.testing.assert_close(layer(z), z @ direction.T)


@pytest.mark.parametrize("held", [True, False])
def test_a_held_layer_stays_although_momentum_and_decay_pull(held: bool) -> None:
    layer = heads.Prototypes(6, 10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    layer(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    before = layer.weight.detach().clone()
    layer(torch.randn(4, 6)).sum().backward()
    if held:
        heads.hold(layer)
    optimizer.step()
    assert layer.weight.equal(before) == held


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widths": (8,)}, "at least two widths"),
        ({"widths": (8, 0)}, "each from 1"),
        ({"widths": (8, 4), "activation": "gleu"}, "did you mean 'gelu'"),
        ({"widths": (8, 4), "hidden_norm": "layer"}, "unknown hidden norm"),
        ({"widths": (8, 4), "last_norm": "batch_affine"}, "unknown last norm"),
    ],
)
def test_impossible_heads_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        heads.mlp(**arguments)  # type: ignore[arg-type]
