"""An encoder that sees a large batch a part at a time: the loss and the gradient are the whole batch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from likewise.encoders import Encoder, EncoderSpec
from likewise.encoders.passes.parts import in_parts
from likewise.methods.barlow_twins import BarlowTwins
from likewise.methods.method import Batch, Facts, Method
from likewise.methods.simclr import SimCLR
from likewise.views import View


class Backbone(nn.Module):
    """A small network with what timm's have, with or without batch norm."""

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        self.head_hidden_size = self.num_features = 6
        self.net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6) if norm else nn.Tanh(), nn.Dropout2d(0.3))
        self.largest = 0

    def forward_features(self, x: Tensor) -> Tensor:
        self.largest = max(self.largest, len(x))
        out: Tensor = self.net(x)
        return out

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return x.mean((2, 3))


def encoder(*, norm: bool = False) -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderSpec(image_size=8), Backbone(norm=norm)).double()


def gradients(method: Method, parts: int) -> tuple[Tensor, list[Tensor], int]:
    """Loss and gradients of a step on 12 images, and the most images that the backbone saw at once."""
    method = copy.deepcopy(method)
    own = next(module for module in method.modules() if isinstance(module, Encoder))
    own.parts, own.backbone.net[2].p = parts, 0.0  # type: ignore[index, union-attr]
    images = torch.randn(2, 12, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    views = {role: View(image) for role, image in zip(("first", "second"), images, strict=True)}
    loss = method.step(views, Batch(torch.arange(12))).loss
    loss.backward()
    return loss.detach(), [p.grad for p in method.parameters() if p.grad is not None], own.backbone.largest  # type: ignore[return-value]


@pytest.mark.parametrize("method_class", [SimCLR, BarlowTwins])
def test_loss_and_gradient_are_those_of_the_whole_batch(method_class: type[Method]) -> None:
    facts = Facts(images=64, batch_size=12, image_size=8)
    changes = {"embedding": 16}
    method = method_class(encoder(), method_class.Settings(**changes), facts).double()  # type: ignore[call-arg]
    loss, expected, _ = gradients(method, 1)
    cut, found, largest = gradients(method, 4)
    assert largest <= 6  # of 24, or of 12 twice
    torch.testing.assert_close(cut, loss)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_norm_sees_each_part_once() -> None:
    whole, cut = encoder(norm=True), encoder(norm=True)
    cut.parts = 3
    images = torch.randn(7, 3, 8, 8, dtype=torch.float64)
    torch.manual_seed(5)
    for part in range(3):
        whole(images[part::3])
    torch.manual_seed(5)
    out = cut(images)
    seen = copy.deepcopy(cut.state_dict())
    torch.testing.assert_close(seen, whole.state_dict())
    out.square().sum().backward()
    assert all(torch.equal(value, seen[name]) for name, value in cut.state_dict().items())
    assert cut.backbone.net[1].momentum == 0.1  # type: ignore[index, union-attr]


def test_random_numbers_are_drawn_once() -> None:
    weight = torch.ones(5, requires_grad=True)
    images = torch.ones(8, 5)
    out = in_parts(lambda x: nn.functional.dropout(x * weight, 0.5), nn.Identity(), images, 3)
    out.sum().backward()
    torch.testing.assert_close(weight.grad, out.detach().sum(0))


def test_rows_keep_their_order_and_without_gradient_nothing_is_cut() -> None:
    images = torch.arange(10.0).unsqueeze(1).requires_grad_()
    assert in_parts(lambda x: 2 * x, nn.Identity(), images, 4).flatten().tolist() == [2.0 * n for n in range(10)]
    calls: list[int] = []
    with torch.no_grad():
        in_parts(lambda x: calls.append(len(x)) or x, nn.Identity(), images, 4)  # type: ignore[func-returns-value]
    assert calls == [10]


def test_a_part_is_seen_again_in_the_mode_of_its_first_pass() -> None:
    images = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    found = []
    for parts in (1, 3):
        network = encoder(norm=True)
        network.parts = parts
        out = network.eval()(images)
        network.train()  # as an anchor leaves it before the backward pass
        out.square().sum().backward()
        assert all(module.training for module in network.modules())
        found.append([weight.grad for weight in network.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
