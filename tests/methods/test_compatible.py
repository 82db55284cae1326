"""BCT and NCCL step by step: what is frozen, what enters the memory when, and where old vectors come from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from likewise import methods
from likewise.data.vectors import read_table, write_table
from likewise.encoders import Encoder, build, load_encoder, save_encoder
from likewise.encoders.neck import with_neck
from likewise.errors import InputError
from likewise.methods.bct import BCT
from likewise.methods.method import Facts, Progress
from likewise.methods.nccl import NCCL
from likewise.methods.parts.old import Old, OldClassifier, check_old, classifier_of, placed
from likewise.similarity import unit
from likewise.similarity.compatible import affinity, class_means, consensus, influence
from likewise.verbs.learning.train import train
from tests.contract.gauntlet import (
    CLASSES,
    IMAGES,
    SIDE,
    SPEC,
    Data,
    batch_at,
    make,
    one_step,
    optimizer_of,
    refresh_before,
    some_images,
    teacher,
)

FACTS = Facts(images=IMAGES, batch_size=8, image_size=SIDE, classes=CLASSES)
QUICK: dict[str, Any] = {"width": 8, "batch_size": 16, "epochs": 1, "quiet": True, "report": False, "loggers": ()}


def bct(**changes: Any) -> BCT:
    made = make("bct", **changes)
    assert isinstance(made, BCT)
    return made


def nccl(**changes: Any) -> NCCL:
    made = make("nccl", **changes)
    assert isinstance(made, NCCL)
    return made


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of BCT without an old encoder: the first of a chain."""
    folder = tmp_path_factory.mktemp("first")
    pixels, labels = some_images()
    np.savez(folder / "data.npz", images=pixels.numpy(), labels=labels.numpy())
    run = train(str(folder / "data.npz"), method="bct", embedding=6, out=str(folder / "run"), **QUICK)
    return run.path


# Neck ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["linear", "cut"])
@pytest.mark.parametrize("length", [5, 100])
def test_a_neck_gives_vectors_of_its_length_and_comes_back(form: Any, length: int, tmp_path: Path) -> None:
    encoder = with_neck(build(SPEC, seed=1), length, form).eval()
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    x = torch.randn(2, 3, SIDE, SIDE)
    assert again(x).shape == (2, length)
    assert again.features == length
    assert torch.equal(again(x), encoder(x))
    if form == "cut":
        whole = build(SPEC, seed=1).eval()(x)
        torch.testing.assert_close(again(x)[:, : whole.shape[1]], whole[:, :length])


def test_an_encoder_without_its_neck_is_not_loaded(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "encoder.safetensors"
    save_encoder(with_neck(build(SPEC), 5), path)
    save_file({key: value for key, value in load_file(path).items() if key != "neck.bias"}, path)
    with pytest.raises(InputError, match=r"misses neck\.bias"):
        load_encoder(path)


# BCT -----------------------------------------------------------------------------------------------------------------


def test_rows_are_the_mean_old_vectors_of_each_class_and_do_not_change() -> None:
    method = bct()
    assert method.old is not None
    pixels, labels = some_images()
    rows = class_means(method.old.vectors, labels, torch.arange(CLASSES))
    torch.testing.assert_close(method.rows, rows)
    optimizer = optimizer_of(method)
    for step in range(2):
        one_step(method, optimizer, step)
    assert torch.equal(method.rows, rows)
    assert len(pixels) == len(method.old.vectors)


def test_the_influence_is_the_cosine_classifiers_of_unit_rows() -> None:
    method = bct(scale=7.0, weight=2.0).eval()
    views, batch = batch_at(method, 0)
    terms = method.step(views, batch)
    assert batch.labels is not None
    x = method.student(views["view"].image)
    expected = F.cross_entropy(7.0 * F.normalize(x) @ F.normalize(method.rows).T, batch.labels)
    torch.testing.assert_close(terms.parts["influence"], expected.detach())
    total = terms.parts["classification"] + 2.0 * terms.parts["influence"]
    torch.testing.assert_close(terms.loss.detach(), total)


def test_a_linear_influence_takes_vectors_and_means_as_they_are() -> None:
    method = bct(classifier="linear").eval()
    views, batch = batch_at(method, 0)
    assert batch.labels is not None
    told = method.step(views, batch).parts["influence"]
    expected = influence(method.student(views["view"].image), method.rows, None, batch.labels)
    torch.testing.assert_close(told, expected.detach())


def test_without_labels_the_old_opinion_is_the_target() -> None:
    method = bct(classes="distilled", scale=5.0).eval()
    assert method.old is not None
    views, batch = batch_at(method, 0)
    image = views["view"].image
    target = (5.0 * F.normalize(method.old.network(image)) @ F.normalize(method.rows).T).softmax(1)
    scores = 5.0 * F.normalize(method.student(image)) @ F.normalize(method.rows).T
    told = method.step(views, batch).parts["influence"]
    torch.testing.assert_close(told, F.cross_entropy(scores, target).detach())


def test_old_rows_go_to_the_classes_of_their_name() -> None:
    old = OldClassifier(torch.eye(2, 4), torch.tensor([1.0, 2.0]), "linear", ("dog", "cat"))
    rows, bias, known = placed(old, dataclasses.replace(FACTS, class_names=("ant", "cat", "dog")))
    assert known.tolist() == [False, True, True]
    assert bias.tolist() == [0.0, 2.0, 1.0]
    assert torch.equal(rows[1:], torch.eye(2, 4).flip(0))
    by_number = placed(old._replace(class_names=None), FACTS)
    assert by_number[2].tolist() == [True, True, False]


def test_a_chain_takes_the_classifier_out_of_the_run_before(first: Path, tmp_path: Path) -> None:
    found = classifier_of(str(first))
    assert found is not None
    assert (found.form, tuple(found.weight_CD.shape)) == ("cosine", (CLASSES, 6))
    data = str(first.parent / "data.npz")
    second = train(data, method="bct", classes="shared", old=str(first), out=str(tmp_path / "second"), **QUICK)
    third = train(data, method="nccl", old=str(second.path), out=str(tmp_path / "third"), **QUICK)
    for run in (first, second.path, third.path):
        assert load_encoder(run / "encoder.safetensors").features == 6


def test_a_cut_encoder_is_deployed_with_the_first_features() -> None:
    method = bct(cut=True)
    assert method.old is not None
    deployed = method.encoders()["student"]
    assert isinstance(deployed, Encoder)
    assert deployed.features == method.old.dim
    assert method.classifier.layer.weight_v.shape[1] == method.student.features  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("bct", {"classes": "shared"}, "has no classifier that knows a class of this data: take classes=synthesised"),
        ("nccl", {"old": ""}, "nccl needs an old encoder"),
        ("bct", {"old": "no/such/run"}, "old='no/such/run' is no run directory"),
        ("nccl", {"old": "none.npz"}, "there is no such table of vectors"),
        ("bct", {"weight": -1.0}, "weight=-1.0 is too small"),
    ],
)
def test_what_cannot_be_is_one_line(name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as told:
        make(name, **changes)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("name", "hint"), [("bct", "--labels"), ("nccl", "--classes clusters")])
def test_without_labels_the_error_says_what_to_do(name: str, hint: str) -> None:
    found: Any = methods.find(name)
    with pytest.raises(InputError, match=f"{name} needs labels of two classes or more.*{hint}"):
        found(build(SPEC), found.Settings(old=teacher()), dataclasses.replace(FACTS, classes=0))


def test_another_form_than_the_old_classifiers_is_refused(first: Path) -> None:
    with pytest.raises(InputError, match="the old encoder's classifier is cosine, allowed are cosine and old"):
        make("bct", old=str(first), classifier="linear")


# NCCL ----------------------------------------------------------------------------------------------------------------


def test_old_vectors_enter_the_memory_before_the_losses() -> None:
    method = nccl(temperature=0.2).eval()
    views, batch = batch_at(method, 0)
    assert batch.labels is not None
    weights = {key: value.clone() for key, value in method.classifier.state_dict().items()}
    terms = method.step(views, batch)
    old = unit(method.old.vectors[batch.ids])
    assert len(method.queue) == len(batch.ids)
    torch.testing.assert_close(method.queue.rows[: len(old)], old)
    scores = method.classifier(old).detach()
    torch.testing.assert_close(method.queue.column("scores")[: len(old)], scores)
    new = unit(method.student(views["view"].image))
    same = batch.labels.unsqueeze(1) == batch.labels
    first = consensus(new, old, affinity(old, old), same, 0.2)
    second = consensus(method.classifier(new), scores, affinity(old, old), same, 1.0)
    torch.testing.assert_close(terms.parts["consensus_vectors"], first.detach())
    torch.testing.assert_close(terms.parts["consensus_scores"], second.detach())
    told = terms.parts["classification"] + first + 0.01 * second
    torch.testing.assert_close(terms.loss, told)
    assert all(torch.equal(weights[key], value) for key, value in method.classifier.state_dict().items())


def test_an_image_that_is_not_credible_trains_the_classifier_only() -> None:
    method = nccl().eval()
    method.credible = torch.zeros(IMAGES, dtype=torch.bool)
    method.credible[0] = True
    views, batch = batch_at(method, 0)
    terms = method.step(views, batch)
    assert len(method.queue) == 1
    assert "consensus_vectors" in terms.parts
    method.credible[0] = False
    assert set(method.step(views, batch).parts) == {"classification", "accuracy"}
    assert len(method.queue) == 1


def test_where_no_old_vector_is_credible_the_run_does_not_begin() -> None:
    method = nccl()
    strict = NCCL(build(SPEC), dataclasses.replace(method.settings, filter_old=True), FACTS)
    strict.know(Data().names, some_images()[1])
    with pytest.raises(InputError, match="none of its vectors lies clearly in one class"):
        strict.refresh(torch.randn(IMAGES, strict.old.dim), Progress(0, 0.0, 0))
    clear = torch.nn.functional.one_hot(some_images()[1], strict.old.dim).float()
    strict.refresh(clear + 0.01 * torch.randn(IMAGES, strict.old.dim), Progress(0, 0.0, 0))
    assert strict.credible.all()


def test_with_clusters_no_label_is_looked_at() -> None:
    method = nccl(classes="clusters", clusters=4).eval()
    views, batch = batch_at(method, 0)
    blind = batch._replace(labels=None)
    terms = method.step(views, blind)
    assert method.queue.column("label")[: len(batch.ids)].equal(method.clusters.of(batch.ids))
    assert terms.loss.isfinite()


def test_the_margin_makes_the_own_class_harder() -> None:
    method = nccl(margin=0.3).eval()
    scores, labels = 16.0 * torch.tensor([[0.5, 0.1, 0.0], [0.2, 0.3, 0.1]]), torch.tensor([0, -1])
    harder = method.classifier.with_margin(scores, labels, 0.3)
    assert float(harder[0, 0]) == pytest.approx(16.0 * np.cos(np.arccos(0.5) + 0.3), rel=1e-5)
    assert torch.equal(harder[0, 1:], scores[0, 1:])
    assert torch.equal(harder[1], scores[1])


# Tables --------------------------------------------------------------------------------------------------------------


def test_old_vectors_are_looked_up_by_name(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in reversed(range(IMAGES))]
    vectors = np.random.default_rng(0).normal(size=(IMAGES, 7)).astype(np.float32)
    write_table(tmp_path / "old.npz", names, vectors)
    method = nccl(old=str(tmp_path / "old.npz"))
    assert method.old.dim == 7
    torch.testing.assert_close(method.old.vectors, torch.from_numpy(vectors[::-1].copy()))
    one_step(method, optimizer_of(method), 0)


def test_images_without_an_old_vector_count_in_the_classification_alone(tmp_path: Path) -> None:
    write_table(tmp_path / "old.npz", ["0.png", "1.png", "2.png"], np.eye(3, 7, dtype=np.float32))
    method = nccl(old=str(tmp_path / "old.npz"))
    assert method.credible.sum() == 3
    other = bct(old=str(tmp_path / "old.npz"), classes="distilled")
    assert torch.equal(other.rows, torch.eye(3, 7))
    views, batch = batch_at(other, 1)  # none of these has an old vector
    assert float(other.step(views, batch).parts["influence"]) == 0.0


def test_a_table_of_other_images_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "old.npz", ["a", "b"], np.eye(2, dtype=np.float32))
    with pytest.raises(InputError, match="holds none of the 96 images"):
        nccl(old=str(tmp_path / "old.npz"))


def test_tables_are_read_from_parquet_and_refused_where_they_are_odd(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "old.parquet"
    pq.write_table(pa.table({"id": ["a", "b"], "vector": [[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]}), path)
    table = read_table(path)
    assert table.names == ("a", "b")
    assert table.rows.tolist() == [[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]
    assert table.at(["b", "c"]).tolist() == [1, -1]
    for ids, vectors, words in (
        (["a", "a"], np.eye(2), "'a' twice"),
        (["a"], np.eye(2), "1 names and 2 vectors"),
        (["a"], np.full((1, 2), np.nan), "not finite"),
    ):
        write_table(tmp_path / "odd.npz", ids, vectors)
        with pytest.raises(InputError, match=words):
            read_table(tmp_path / "odd.npz")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "odd.npz").read_bytes()[:60])
    with pytest.raises(InputError, match="no table that can be read"):
        read_table(tmp_path / "cut.npz")


def test_a_resumed_method_makes_its_old_vectors_again() -> None:
    for method in (bct(), nccl()):
        state = {key: value.clone() for key, value in method.state_dict().items()}
        assert not any("table" in key or key == "rows" for key in state)
        fresh = type(method)(build(SPEC), method.settings, FACTS)  # type: ignore[arg-type]
        assert fresh.refresh_lost()
        refresh_before(fresh, Progress(3, 0.5, 1))
        assert not fresh.refresh_lost()
        fresh.load_state_dict(state)
    assert len(Data()) == IMAGES


def test_an_index_stands_for_the_encoder_that_it_keeps(first: Path, tmp_path: Path) -> None:
    index = tmp_path / "x.index"
    (index / "space-0").mkdir(parents=True)
    (index / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="keeps no encoder") as error:
        check_old(str(index))
    assert "\n" not in str(error.value)
    kept_there = index / "space-0" / "encoder.safetensors"
    kept_there.write_bytes((first / "encoder.safetensors").read_bytes())
    check_old(str(index))
    old, direct = Old(str(index), FACTS).eval(), Old(str(kept_there), FACTS).eval()
    x = torch.randn(2, 3, SIDE, SIDE)
    assert torch.equal(old.network(x), direct.network(x))
    assert old.dim == 6
    assert classifier_of(str(index)) is None
    (index / "space-1").mkdir()
    (index / "space-1" / "encoder.safetensors").write_bytes(kept_there.read_bytes())
    with pytest.raises(InputError, match="vectors of 2 encoders"):
        check_old(str(index))
