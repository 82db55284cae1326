"""Keys are permuted for their pass where statistics are those of a part of the batch, and only there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likewise.encoders import SplitBatchNorm1d, SyncBatchNorm
from likewise.encoders.passes.shuffling import shuffled

ROWS, SPLITS = 16, 4


class Seen(nn.Module):
    """A batch norm in groups that remembers the order in which rows come."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.order = norm, torch.empty(0)

    def forward(self, x_B1: Tensor) -> Tensor:
        self.order = x_B1.flatten().clone()
        return self.norm(x_B1)  # type: ignore[no-any-return]


def test_in_one_process_a_key_is_normalised_among_other_images_than_its_query() -> None:
    x_B1 = torch.arange(float(ROWS)).unsqueeze(1)
    module = Seen(SplitBatchNorm1d(1, splits=SPLITS))
    torch.manual_seed(0)
    out_B1 = shuffled(module, x_B1)
    order = module.order.long()
    assert sorted(order.tolist()) == list(range(ROWS))
    groups = [set(order[group::SPLITS].tolist()) for group in range(SPLITS)]
    assert groups != [set(range(group, ROWS, SPLITS)) for group in range(SPLITS)]
    for group in groups:  # each row got back its own result, that of the group it was in
        rows = torch.tensor(sorted(group))
        expected = SplitBatchNorm1d(1)(x_B1[rows])
        torch.testing.assert_close(out_B1[rows], expected.detach())


def test_the_permutation_follows_from_the_global_generator() -> None:
    x_B1 = torch.arange(float(ROWS)).unsqueeze(1)
    orders = []
    for seed in (1, 1, 2):
        module = Seen(SplitBatchNorm1d(1, splits=SPLITS))
        torch.manual_seed(seed)
        shuffled(module, x_B1)
        orders.append(module.order)
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_nothing_is_permuted_or_drawn_where_statistics_are_those_of_the_whole_batch() -> None:
    x_B1 = torch.arange(float(ROWS)).unsqueeze(1)
    for norm in (nn.BatchNorm1d(1), SyncBatchNorm(1), SplitBatchNorm1d(1), nn.Identity()):
        module, before = Seen(norm), torch.get_rng_state()
        out_B1 = shuffled(module, x_B1)
        assert torch.equal(module.order, x_B1.flatten())
        assert torch.equal(torch.get_rng_state(), before)
        assert not out_B1.requires_grad
