"""USL-T: both losses of every head, neighbours out of a table, and exactly as many picks as were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likewise.data import open_source, prepare
from likewise.data.batches.streams import order_of
from likewise.errors import InputError
from likewise.methods.usl_t import USLT
from likewise.recipes import carry_out
from likewise.recipes.usl_t import Recipe, stages
from likewise.selection.usl_t import neighbour_table, picks, surest_first
from likewise.similarity.prototypes.self_label import agree, confident
from likewise.verbs.labelling.select import select
from likewise.verbs.learning.train import train
from tests.contract.gauntlet import IMAGES, Data, batch_at, facts_of, make, one_step, optimizer_of

FAST: dict[str, Any] = {
    "batch_size": 8, "device": "cpu", "precision": "float32", "quiet": True, "report": False, "loggers": (),
    "online_probe": False,
}  # fmt: skip


def usl_t(**changes: Any) -> USLT:
    method = make("usl_t", **{"clusters": 5, "threshold": 0.25, **changes})
    assert isinstance(method, USLT)
    return method


def test_the_loss_is_that_of_all_heads_and_their_means_follow_afterwards() -> None:
    method = usl_t().eval()
    with torch.no_grad():
        method.heads[0].weight.mul_(50.0)  # type: ignore[union-attr,operator]  # so that some are sure
    views, batch = batch_at(method, 0)
    before = method.means.clone()
    terms = method(views, batch)
    a, w, g = (method.clustered(method.encoder(views[role].image)) for role in ("strong", "plain", "neighbour"))
    expected = torch.zeros(())
    for head in range(3):
        found = agree(a[head], g[head], before[head], adjust=5.0, sharpen=0.25, momentum=0.5)
        expected = expected + confident(w[head], a[head], 0.25) + 5.0 * found.loss
        torch.testing.assert_close(method.means[head], found.mean)
    torch.testing.assert_close(terms.loss, expected)
    assert float(terms.parts["sure"]) > 0


def test_a_batch_holds_each_image_twice_and_a_neighbour_of_the_table(tmp_path: Path) -> None:
    table = (np.arange(IMAGES)[:, None] + np.array([1, 2])) % IMAGES
    np.save(tmp_path / "table.npy", table)
    settings = USLT.Settings(neighbours=str(tmp_path / "table.npy"))
    order = order_of("main", USLT.streams(settings, facts_of())["main"], Data(), 8, 0)  # type: ignore[arg-type]
    batches = np.concatenate([order.batch(step) for step in range(order.steps_per_epoch)])[:, :, 0]
    assert sorted(batches[:, 0].tolist()) == list(range(IMAGES))
    assert (batches[:, 0] == batches[:, 1]).all()
    assert set(((batches[:, 2] - batches[:, 0]) % IMAGES).tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((3, 2), np.int64), r"whole numbers \(96, K\) are needed"),
        (np.zeros((96, 2)), r"whole numbers \(96, K\) are needed"),
        (np.full((96, 2), 96), "names images outside 0 to 95"),
        (None, "holds no table"),
    ],
)
def test_a_table_of_other_images_is_refused(tmp_path: Path, table: Any, message: str) -> None:
    path = tmp_path / "table.npy"
    if table is not None:
        np.save(path, table)
    stream = USLT.streams(USLT.Settings(neighbours=str(path)), facts_of())["main"]
    with pytest.raises(InputError, match=message):
        order_of("main", stream, Data(), 8, 0)  # type: ignore[arg-type]


def test_a_frozen_encoder_stays_as_it_is() -> None:
    method = usl_t(frozen=True)
    before = {key: value.clone() for key, value in method.encoder.state_dict().items()}
    heads = method.heads[0].weight.clone()  # type: ignore[union-attr,operator]
    one_step(method, optimizer_of(method), 0)
    assert all(value.equal(before[key]) for key, value in method.encoder.state_dict().items())
    assert not heads.equal(method.heads[0].weight)  # type: ignore[arg-type]


def test_the_surest_of_each_cluster_come_first_and_all_are_different() -> None:
    cluster = torch.tensor([4, 0, 0, 2, 4, 4, 2])
    confidence = torch.tensor([0.1, 0.5, 0.9, 0.3, 0.8, 0.8, 0.2])
    assert surest_first(cluster, confidence).tolist() == [2, 3, 4, 1, 6, 5, 0]
    alike = surest_first(torch.zeros(9, dtype=torch.int64), torch.ones(9))
    assert alike.tolist() == list(range(9)), "of equal ones the first"


def test_neighbours_are_the_most_similar_ones_and_the_image_itself() -> None:
    features = torch.nn.functional.normalize(torch.randn(30, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    table = neighbour_table(features, 4)
    assert table.shape == (30, 5)
    assert (table[:, 0] == np.arange(30)).all()
    nearest = (features @ features.T).topk(5, dim=1).indices.numpy()
    assert (np.sort(table, 1) == np.sort(nearest, 1)).all()
    assert neighbour_table(features[:3], 20).shape == (3, 3)


def test_the_recipe_ends_in_as_many_picks_as_asked_for_whatever_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (40, 16, 16, 3)).astype(np.uint8)
    for name, labels in (("true", np.arange(40) % 4), ("wrong", draw.integers(0, 9, 40))):
        np.savez(tmp_path / f"{name}.npz", images=pixels, labels=labels)
    start = train(
        tmp_path / "true.npz", method="byol", encoder="resnet10t", width=8, image_size=16, epochs=1,
        out=str(tmp_path / "start"), **FAST,
    )  # fmt: skip
    found = {}
    for name in ("true", "wrong"):
        data = tmp_path / f"{name}.npz"
        recipe = Recipe(data=str(data), start=str(start.path), out=str(tmp_path / f"{name}-runs"), labels=6, epochs=1)
        run = carry_out(recipe.out, stages(recipe, **FAST))[0]
        images = prepare(open_source(data), short_side=None)
        found[name] = picks(run, images, 6)
        assert len(found[name].rows.unique()) == 6
        assert len(picks(run, images, 40).rows.unique()) == 40
        with pytest.raises(InputError, match="41 picks of 40 images: allowed are 1 to that many"):
            picks(run, images, 41)
    assert found["true"].rows.equal(found["wrong"].rows)
    selected = select(run, data, labels=6, by="usl_t", out=tmp_path / "picks.csv", expected=False, quiet=True)
    assert [one.cluster for one in selected.picks] == found["wrong"].cluster.tolist()
    assert selected.picks[0].reason.startswith("surest left of cluster")
    with pytest.raises(InputError, match="leave --given out"):
        select(run, data, labels=6, by="usl_t", out=tmp_path / "again.csv", given=tmp_path / "picks.csv")
    copies = np.concatenate([pixels[:3]] * 4)
    np.savez(tmp_path / "copies.npz", images=copies)
    doubled = picks(run, prepare(open_source(tmp_path / "copies.npz"), short_side=None), 4)
    assert len(doubled.rows.unique()) == 4
    assert sorted((doubled.rows[:3] % 3).tolist()) == [0, 1, 2], "copies come last"
    with pytest.raises(InputError, match="was not trained by usl_t"):
        picks(start, images, 6)
    with pytest.raises(InputError, match="labels=1 must be at least 2"):
        list(stages(Recipe(data="x", start="y", out="z", labels=1)))
