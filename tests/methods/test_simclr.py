"""SimCLR: what its settings do to views and head, and that its step is NT-Xent of both views."""

from __future__ import annotations

import pytest
import torch

from likewise.errors import InputError
from likewise.methods.method import Facts
from likewise.methods.simclr import SimCLR
from likewise.similarity import nt_xent
from tests.contract.gauntlet import batch_at, make


def test_the_step_is_the_loss_of_both_views_through_one_network() -> None:
    method = make("simclr", temperature=0.3)
    views, batch = batch_at(method, 0)
    terms = method(views, batch)
    network = make("simclr", temperature=0.3).get_submodule("network")
    first, second = network(torch.cat([views["first"].image, views["second"].image])).chunk(2)
    torch.testing.assert_close(terms.loss, nt_xent(first, second, 0.3))
    (2 * terms.loss).backward()
    assert all(p.grad is not None for p in method.parameters())


def test_the_strength_of_jitter_is_that_of_the_paper() -> None:
    method = make("simclr", jitter_strength=1.0)
    for policy in method.views.values():
        colour = policy.colour
        assert colour is not None
        assert (colour.brightness, colour.contrast, colour.saturation, colour.hue) == (0.8, 0.8, 0.8, 0.2)


@pytest.mark.parametrize(("side", "blurred"), [(32, False), (224, True)])
def test_only_large_images_are_blurred(side: int, blurred: bool) -> None:
    encoder = make("simclr").encoders()["student"]
    method = SimCLR(encoder, SimCLR.Settings(), Facts(images=9, batch_size=4, image_size=side))  # type: ignore[arg-type]
    assert all((policy.blur is not None) == blurred for policy in method.views.values())


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="temperature=0 must be greater than 0"):
        SimCLR.Settings(temperature=0)
