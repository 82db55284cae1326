"""An index as input of the verbs that look at images: its own encoder, its vectors in place of the encoder's work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import likewise.index.embedding.held as held_module
from likewise.encoders import build, save_encoder
from likewise.errors import InputError
from likewise.index import Space, create, open_index
from likewise.index.embedding.embed import embed
from likewise.verbs.judging.drift import drift
from likewise.verbs.labelling.predict import predict
from likewise.verbs.labelling.select import select
from likewise.verbs.looking.explore import explore
from tests.index.conftest import SPEC, write_images


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    folder = tmp_path_factory.mktemp("held")
    for kind, seed in (("a", 0), ("b", 1)):
        write_images(folder / "images" / kind, 14, seed=seed)
    embed(weights, folder / "images", to=folder / "x.index", labels="folders")
    return folder / "x.index"


def test_an_index_is_selected_from_predicted_and_explored_without_embedding_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*_: Any, **__: Any) -> None:
        raise AssertionError("the index has these features")

    monkeypatch.setattr(held_module, "cached_features", again)
    picked = select(made, labels=4, out=tmp_path / "picks.csv", expected=False, cache_dir=tmp_path, quiet=True)
    assert picked.images == 28
    assert all(pick.path.is_file() for pick in picked.picks)
    shown = explore(made, parquet=tmp_path / "x.parquet", cache_dir=tmp_path, quiet=True, layout="pca")
    assert shown.images == 28
    table = tmp_path / "known.csv"
    lines = [f"{one},{Path(one).parent.name}" for one in open_index(made).paths[::3]]
    table.write_text("\n".join(["path,label", *lines]))
    monkeypatch.undo()
    found = predict(made, made, out=tmp_path / "p.csv", labelled=table, cache_dir=tmp_path, quiet=True)
    assert found.images == 28
    assert sum(found.counts.values()) == 28


def test_features_are_those_of_the_encoder(made: Path, weights: Path, encoder: Any) -> None:
    source = held_module.open_held(made)
    np.testing.assert_allclose(source.features_NF, encoder.embed(list(source.paths)).numpy(), rtol=1e-4, atol=1e-5)
    assert source.class_names == ("a", "b")
    assert source.labels is not None
    assert [Path(path).parent.name for path in source.paths] == [source.class_names[label] for label in source.labels]
    other = build(SPEC, seed=9)
    assert held_module._stored(source, other) is None  # another encoder looks for itself


def test_drift_takes_an_index_on_each_side(made: Path, tmp_path: Path, weights: Path) -> None:
    result = drift(made, made, quiet=True)
    assert not result.drifted
    assert [one.name for one in result.classes] == ["a", "b"]
    write_images(tmp_path / "new", 12, seed=7)
    assert len(drift(made, tmp_path / "new", cache_dir=tmp_path, quiet=True).names) == 12
    save_encoder(build(SPEC, seed=9), tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="another encoder"):
        drift(made, tmp_path / "new", encoder=tmp_path / "other.safetensors", quiet=True)


def test_an_index_that_says_too_little_is_refused_in_a_line(made: Path, tmp_path: Path) -> None:
    bare = create(tmp_path / "bare.index", Space.named("elsewhere", 3))
    bare.append(["a", "b"], np.eye(2, 3))
    for call, said in (
        (lambda: held_module.open_held(bare.path), "does not say where"),
        (lambda: held_module.subject_of(bare.path, None), "no encoder"),
        (lambda: held_module.open_held(made, split="val"), "split"),
        (lambda: held_module.open_held(made, labels="colour"), "colour"),
    ):
        with pytest.raises(InputError, match=said) as error:
            call()
        assert "\n" not in str(error.value)


def test_a_row_without_a_value_is_of_no_class(tmp_path: Path) -> None:
    index = create(tmp_path / "x.index", Space.named("a", 4))
    columns = {
        "kind": [3, None, 1, -1, 3],
        "share": [1.5, None, 0.5, float("nan"), 1.5],
        "name": ["b", "", "a", None, "b"],
    }
    index.append(list("abcde"), np.eye(5, 4) + 0.1, columns=columns)
    for column, names in {"kind": ("1", "3"), "share": ("0.5", "1.5"), "name": ("a", "b")}.items():
        found, classes = held_module.classes_of(open_index(index.path).columns[column])
        assert (found.tolist(), classes) == ([1, -1, 0, -1, 1], names)
