"""CVRL, MoDist and cross-pixel flow similarity: their losses step by step, in the order of their papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from likewise.errors import InputError
from likewise.methods.cvrl import CVRL
from likewise.methods.flowsim import FlowSim, drawn_points, sigma_of
from likewise.methods.method import Progress
from likewise.methods.modist import MoDist, no_others
from likewise.similarity import contrast, nt_xent, unit
from likewise.similarity.dense.motion import (
    embedding_kernel,
    flow_kernel,
    hypercolumns,
    kernel_alignment,
    kernel_contrast,
    kernel_cross_entropy,
)
from tests.contract.gauntlet import BATCH, batch_at, flows, make

# CVRL ----------------------------------------------------------------------------------------------------------------


def test_cvrl_is_the_sum_of_both_directions_with_all_clips_through_one_network() -> None:
    method = make("cvrl", temperature=0.3)
    views, batch = batch_at(method, 0)
    assert views["first"].image.shape == (BATCH, 3, 8, 16, 16)
    assert batch.ids.shape == (BATCH, 2, 8)
    loss = method(views, batch).loss
    network = make("cvrl", temperature=0.3).get_submodule("network")
    first, second = network(torch.cat([views["first"].image, views["second"].image])).chunk(2)
    torch.testing.assert_close(loss, 2 * nt_xent(first, second, 0.3))


def test_cvrl_looks_at_one_draw_a_clip_or_for_comparison_one_a_frame() -> None:
    assert not any(policy.each_frame for policy in make("cvrl").views.values())
    assert all(policy.each_frame for policy in make("cvrl", draw="frame").views.values())


def test_what_an_encoder_learned_from_is_what_it_is_judged_by() -> None:
    spec = make("cvrl", frames=4, stride=3).encoders()["student"].spec
    assert (spec.frames, spec.stride) == (4, 3)  # type: ignore[union-attr]


def test_settings_of_clips_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="both the column 'scan'"):
        CVRL.Settings(video="scan", frame="scan")
    with pytest.raises(InputError, match="frames=0"):
        CVRL.Settings(frames=0)
    assert "power" in CVRL.Settings().idle()
    assert "stride" in CVRL.Settings(frames=1).idle()


# MoDist --------------------------------------------------------------------------------------------------------------


def modist(**changes: Any) -> MoDist:
    method = make("modist", **changes)
    assert isinstance(method, MoDist)
    return method


def test_modist_is_four_terms_against_the_queues_of_before_which_the_keys_then_enter() -> None:
    method, copy = modist(still=0.0), modist(still=0.0)
    for each in (method, copy):  # as from the second step on
        each(*batch_at(each, 1))
    views, batch = batch_at(method, 0)
    before = [queue.rows[: 2 * BATCH].clone() for queue in (method.visual_queue, method.moving_queue)]
    earlier = method.visual_queue.column("video")[: 2 * BATCH].clone()
    terms = method(views, batch)
    looks = torch.cat([views["first"].image, views["second"].image])
    motion = [
        copy.motion_of(views[f"{role}_motion"], batch.ids[:, at]).image for at, role in enumerate(("first", "second"))
    ]
    q_v, q_m = copy.visual(looks).chunk(2), copy.moving(torch.cat(motion)).chunk(2)
    k_v, k_m = copy.visual_keys(looks).chunk(2), copy.moving_keys(torch.cat(motion)).chunk(2)

    def both(q: Any, k: Any, queue: torch.Tensor) -> torch.Tensor:
        own = batch.columns["video"].unsqueeze(1) == earlier
        found = [contrast(q[at], k[at], queue, 0.1, exclude=lambda start, stop: own[:, start:stop]) for at in range(2)]
        return torch.stack(found).mean()

    expected = {
        "vv": both(q_v, k_v[::-1], before[0]),
        "mm": both(q_m, k_m[::-1], before[1]),
        "vm": both(q_v, k_m, before[1]),  # the queue is that of the key
        "mv": both(q_m, k_v, before[0]),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms.parts[name], value.detach())
    torch.testing.assert_close(terms.loss, torch.stack(list(expected.values())).sum())
    torch.testing.assert_close(method.visual_queue.rows[2 * BATCH : 3 * BATCH], unit(k_v[0]))
    torch.testing.assert_close(method.moving_queue.rows[3 * BATCH : 4 * BATCH], unit(k_m[1]))


def test_noise_in_the_queues_is_no_negative() -> None:
    losses = []
    for other_noise in (False, True):
        method = modist(still=0.0)
        for queue in (method.visual_queue, method.moving_queue):
            queue.rows[2 * BATCH :] *= -1.0 if other_noise else 1.0
        losses.append([method(*batch_at(method, step)).loss.detach() for step in range(2)])
        assert min(losses[-1]) > 1.0
        assert int(method.visual_queue.filled) == 4 * BATCH
    assert losses[0] == losses[1]


def test_earlier_keys_of_the_own_video_are_no_negatives() -> None:
    method = modist(still=0.0)
    for step in range(2):
        views, batch = batch_at(method, step)
        method(views, batch)
    video_B, queue = batch.columns["video"], method.visual_queue
    assert queue.column("video")[2 * BATCH : 3 * BATCH].equal(video_B)
    left_out = no_others(queue, video_B)(0, 4 * BATCH)
    assert left_out.equal(queue.column("video")[: 4 * BATCH] == video_B.unsqueeze(1))
    assert no_others(queue, video_B)(4 * BATCH, queue.size).all()
    queue.column("video").fill_(int(video_B[0]))
    query, key = torch.randn(2, BATCH, 64), torch.randn(2, BATCH, 64)
    every = torch.ones(BATCH, dtype=torch.bool)
    alone = method.both(tuple(query), tuple(key), queue, slice(0, 64), every, torch.full((BATCH,), int(video_B[0])))
    assert float(alone) == pytest.approx(0.0, abs=1e-6)


def test_clips_in_which_nothing_moves_take_no_part_in_terms_with_motion() -> None:
    method = modist(still=0.02)
    method.flows = np.zeros_like(flows(96))
    method(*batch_at(method, 1))
    terms = method(*batch_at(method, 0))
    assert float(terms.parts["moving"]) == 0.0
    assert float(terms.parts["mm"]) == float(terms.parts["vm"]) == 0.0
    torch.testing.assert_close(terms.loss.detach(), terms.parts["vv"])
    assert int(method.moving_queue.filled) == 0
    assert int(method.visual_queue.filled) == 4 * BATCH
    assert float(terms.parts["vv"]) > 0.0
    terms.loss.backward()


def test_the_motion_term_may_be_alone_at_first() -> None:
    method = modist(motion_first=0.5, still=0.0)
    method(*batch_at(method, 0))
    for fraction, alone in ((0.2, True), (0.6, False)):
        method.before_step(Progress(0, fraction, 0))
        terms = method(*batch_at(method, 0))
        total = sum(float(terms.parts[name]) for name in ("vv", "mm", "vm", "mv"))
        assert float(terms.loss) == pytest.approx(float(terms.parts["mm"]) if alone else total, rel=1e-4)


def test_heads_of_their_own_are_of_unit_length_each() -> None:
    method = modist(shared_heads=False, still=0.0)
    for step in range(2):
        loss = method(*batch_at(method, step)).loss
    loss.backward()
    rows = method.visual_queue.rows[:BATCH]
    torch.testing.assert_close(rows[:, :64].norm(dim=1), torch.ones(BATCH))
    torch.testing.assert_close(rows[:, 64:].norm(dim=1), torch.ones(BATCH))
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize(("motion", "channels"), [("edges", 1), ("flow", 2), ("difference", 3)])
def test_motion_can_be_shown_in_three_ways(motion: str, channels: int) -> None:
    method = modist(motion=motion)
    views, batch = batch_at(method, 0)
    seen = method.motion_of(views["second_motion"], batch.ids[:, 1]).image
    assert seen.shape == (BATCH, channels, 8, 16, 16)
    assert (method.flow is None) == (motion == "difference")
    assert motion == "difference" or float(seen.abs().max()) <= 1.0


def test_the_motion_is_that_of_the_same_frames() -> None:
    method = modist()
    views, batch = batch_at(method, 0)
    method.flows = np.zeros_like(flows(96))
    moving = batch.ids[2, 1, 5]
    method.flows[int(moving), 0, :, 10:] = 5.0
    other = method.motion_of(views["first_motion"], batch.ids[:, 0]).image
    own = method.motion_of(views["second_motion"], batch.ids[:, 1]).image
    assert float(own[2].abs().sum()) > 0.0
    assert not own[[row for row in range(BATCH) if row != 2]].any()
    assert bool(other.any()) == bool((batch.ids[:, 0] == moving).any())


# Cross-pixel flow similarity -----------------------------------------------------------------------------------------


def flowsim(**changes: Any) -> FlowSim:
    method = make("flowsim", **changes)
    assert isinstance(method, FlowSim)
    return method


@pytest.mark.parametrize("loss", ["cross_entropy", "alignment", "contrastive"])
def test_flowsim_compares_kernels_of_the_same_pixels(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = flowsim(loss=loss, points=12).eval()
    views, batch = batch_at(method, 0)
    seen: dict[str, torch.Tensor] = {}
    compared = method.compared

    def watched(phi: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        seen["phi"], seen["flow"] = phi, flow
        return compared(phi, flow)

    monkeypatch.setattr(method, "compared", watched)
    terms = method(views, batch)
    ours, theirs = embedding_kernel(seen["phi"], 1.0), flow_kernel(seen["flow"], sigma_of(seen["flow"], 0.0))
    expected = {
        "cross_entropy": lambda: kernel_cross_entropy(ours, theirs, 0.1, 0.1, exclude_diagonal=True),
        "alignment": lambda: kernel_alignment(ours, theirs),
        "contrastive": lambda: kernel_contrast(ours, theirs, 0.1),
    }[loss]()
    torch.testing.assert_close(terms.loss, expected)
    assert len(seen["phi"]) == round(float(terms.parts["moving"]) * BATCH) < BATCH  # one video stands still


def test_images_in_which_nothing_moves_teach_nothing() -> None:
    method = flowsim()
    method.flows = np.zeros_like(flows(96))
    method.flows[:, 2] = 1.0
    terms = method(*batch_at(method, 0))
    terms.loss.backward()
    assert float(terms.loss) == 0.0
    assert not any(p.grad.any() for p in method.encoder.parameters() if p.grad is not None)


def test_half_of_the_pixels_move_on_their_own_and_unreliable_ones_come_last() -> None:
    flow, known = torch.zeros(2, 100, 2), torch.ones(2, 100, dtype=torch.bool)
    flow[:, :20] = 3.0
    known[1, 50:] = False
    chosen = drawn_points(flow, known, FlowSim.Settings(points=20, moving=0.5))
    assert chosen.shape == (2, 20)
    assert all(len(set(row)) == 20 for row in chosen.tolist())
    assert int((chosen < 20).sum(1).min()) >= 10
    assert (chosen[1] < 50).all()


def test_hypercolumns_are_read_in_every_stage_also_where_sides_are_odd() -> None:
    method = flowsim().eval()
    image = torch.randn(2, 3, 20, 20)  # the last of its maps has a side of 3
    points = torch.tensor([[[0.0, 0.0], [19.0, 7.0]]]).expand(2, -1, -1)
    stages = method.encoder.stages(image)
    assert 20 % stages[-1].shape[-1]
    found = method.embedded(image, points)
    read = [hypercolumns([each], points, -(-20 // each.shape[-1]) * each.shape[-1]) for each in stages]
    torch.testing.assert_close(found, method.head(torch.cat(read, 2)))


def test_flow_is_needed_before_a_step() -> None:
    method = flowsim()
    method.flows = None
    with pytest.raises(InputError, match="learns from flow"):
        method(*batch_at(method, 0))
