"""Exactly m different picks, whatever the features; the published selection; and what is covered stays covered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from likewise.errors import InputError
from likewise.selection.picking import STRATEGIES, pick
from likewise.selection.pool import RECIPES, Pool, recipe
from likewise.selection.usl import densest_apart, density, lloyd
from likewise.similarity import unit


def blobs(count: int = 120, groups: int = 6, width: int = 8, seed: int = 0, noise: float = 0.25) -> Tensor:
    """Points about a few directions, the first of the groups at row 0, the next at row 1, ..."""
    generator = torch.Generator().manual_seed(seed)
    centres = unit(torch.randn(groups, width, generator=generator))
    return centres[torch.arange(count) % groups] + noise * torch.randn(count, width, generator=generator)


@pytest.mark.parametrize("by", STRATEGIES)
@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 4), st.data())
def test_there_are_exactly_m_different_picks(
    by: str, count: int, kinds: int, covered: int, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(count + 100 * kinds)
    kind_N = torch.randint(kinds, (count,), generator=generator)  # many copies: clusters stay empty
    x_ND = torch.randn(kinds, 4, generator=generator)[kind_N]
    x_ND += 1e-6 * torch.randn(x_ND.shape, generator=generator)  # as features of copies in different batches
    covered_N = (kind_N < covered) & (kind_N != kind_N[-1])  # an image is covered with all its copies
    pool = Pool(x_ND, covered_N, kind_N.numpy())
    wanted = data.draw(st.integers(1, len(pool.free)))
    found = pick(pool, wanted, by)
    assert len(found.rows) == len(set(found.rows.tolist())) == wanted == len(found.reasons) == len(found.cluster)
    assert not covered_N[found.rows].any()
    contents = len(set(kind_N[~covered_N].tolist()))
    assert len(set(kind_N[found.rows].tolist())) == min(wanted, contents)  # copies come when nothing else is left


@pytest.mark.parametrize("by", STRATEGIES)
def test_more_picks_than_images_are_refused(by: str) -> None:
    with pytest.raises(InputError, match=r"allowed are 1 to 12.*12 is the nearest"):
        pick(Pool.of(blobs(12)), 13, by)
    with pytest.raises(InputError, match="allowed are 1 to 12"):
        pick(Pool.of(blobs(12)), 0, by)
    with pytest.raises(InputError, match="labelled already"):
        pick(Pool(blobs(12), torch.ones(12, dtype=torch.bool), np.arange(12)), 1, by)
    with pytest.raises(InputError, match="did you mean 'coverage'"):
        pick(Pool.of(blobs(12)), 2, "cover")


def test_usl_is_the_published_selection() -> None:
    x_ND, how = blobs(150), RECIPES["small"]
    start = torch.randperm(150, generator=torch.Generator().manual_seed(3))[:10]
    own_N, _ = lloyd(x_ND, 10, iterations=how.iterations, start=start)
    expected = densest_apart(x_ND, own_N, density(x_ND, how.k(150)), how.apart)
    assert len(expected) == 10
    assert pick(Pool.of(x_ND), 10, "usl", seed=3).rows.equal(expected)


def test_published_settings() -> None:
    assert recipe("cifar10").k(50_000) == 400
    assert recipe("small").k(5_000) == 40
    assert recipe("small").k(10) == 10
    assert (recipe("imagenet").apart.nearest, recipe("imagenet").apart.weight) == (128, 1.5)
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        recipe("cifar1")


@pytest.mark.parametrize("by", ["usl", "typical", "coverage"])
def test_each_group_gets_one_label(by: str) -> None:
    found = pick(Pool.of(blobs(noise=0.05)), 6, by)
    assert set((found.rows % 6).tolist()) == set(range(6)) or by == "usl"  # Lloyd from random images may miss one
    assert len(set((found.rows % 6).tolist())) >= 4


@pytest.mark.parametrize("by", ["usl", "typical", "coverage"])
def test_what_is_labelled_is_not_asked_again(by: str) -> None:
    """Images of three of six groups are labelled: the next three picks are of the others."""
    x_ND = blobs(noise=0.03)
    covered_N = torch.zeros(len(x_ND), dtype=torch.bool)
    covered_N[:3] = True
    found = pick(Pool(x_ND, covered_N, np.arange(len(x_ND))), 3, by, seed=1)
    assert set((found.rows % 6).tolist()) <= {3, 4, 5}


def test_k_centre_takes_the_farthest() -> None:
    angle = torch.tensor([0.0, 0.1, 0.2, 1.5, 3.0])
    x_ND = torch.stack([angle.cos(), angle.sin()], 1)
    assert pick(Pool.of(x_ND), 3, "coverage").rows.tolist() == [2, 4, 3]


def test_typical_images_lie_in_the_middle_of_the_largest_cluster() -> None:
    angle = torch.cat([torch.linspace(-0.2, 0.2, 9), torch.linspace(1.9, 2.1, 6)])
    x_ND = torch.stack([angle.cos(), angle.sin()], 1)
    found = pick(Pool.of(x_ND), 2, "typical")
    assert found.rows[0] == 4
    assert int(found.rows[1]) in {11, 12}
    assert found.reasons[0] == "most typical of the 9 images of its cluster"


def test_usl_picks_different_images_where_copies_differ_by_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    kind_N = torch.arange(60).repeat(5)
    x_ND = unit(torch.randn(60, 16, generator=generator))[kind_N] + 1e-6 * torch.randn(300, 16, generator=generator)
    pool = Pool(x_ND, torch.zeros(300, dtype=torch.bool), kind_N.numpy())
    for count in (30, 60):
        assert len(set(kind_N[pick(pool, count, "usl").rows].tolist())) == count


def test_copies_of_one_image_are_infinitely_dense_and_still_chosen_once() -> None:
    x_ND = torch.cat([blobs(40), torch.ones(60, 8)])
    content = np.concatenate([np.arange(40), np.full(60, 40)])
    found = pick(Pool(x_ND, torch.zeros(100, dtype=torch.bool), content), 12, "usl")
    assert int((found.rows >= 40).sum()) <= 1


def test_picks_repeat_with_the_seed() -> None:
    pool = Pool.of(blobs())
    for by in STRATEGIES:
        assert pick(pool, 9, by, seed=2).rows.equal(pick(pool, 9, by, seed=2).rows)
    assert not pick(pool, 9, "random", seed=2).rows.equal(pick(pool, 9, "random", seed=3).rows)


def test_features_that_are_not_finite_are_refused() -> None:
    x_ND = blobs(12)
    x_ND[3, 1] = torch.nan
    with pytest.raises(InputError, match="row 3"):
        Pool.of(x_ND)
