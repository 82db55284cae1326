"""Published weights: taken from this machine without asking anybody, and refused at once where nobody answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import likewise._torchvision  # noqa: F401  (has to be imported before timm)

# isort: split
import timm

from likewise import checking
from likewise.encoders import EncoderSpec, build
from likewise.encoders.files import published
from likewise.errors import InputError
from likewise.teachers import pretrained

NAME = "test_resnet.r160_in1k"
SPEC = EncoderSpec(name=NAME, image_size=64, pretrained=True)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, and nothing kept from earlier ones."""
    monkeypatch.setattr(published, "answers", lambda _: False)
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(published, "check_cached_file", lambda _: False)


@pytest.mark.usefixtures("offline")
def test_without_a_network_a_teacher_is_refused_at_once_in_one_line() -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"teacher='test_resnet.r160_in1k': .* not on this machine") as caught:
        pretrained(NAME, image_size=64, mean=SPEC.mean, std=SPEC.std)
    assert time.monotonic() - began < 3
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_weights_on_this_machine_are_taken_without_asking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = timm.create_model(NAME)
    save_file(kept.state_dict(), tmp_path / "model.safetensors")
    found = lambda repository, file, **_: str(tmp_path / file) if "timm/" in repository else None  # noqa: E731
    monkeypatch.setattr(published, "try_to_load_from_cache", found)
    built = build(SPEC).backbone.state_dict()
    assert all(torch.equal(value, kept.state_dict()[key]) for key, value in built.items())


def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "WAIT", 0.2)

    def silent(*_: object, **__: object) -> None:
        time.sleep(5)
        raise OSError("nobody answered")

    monkeypatch.setattr(checking.urllib.request, "urlopen", silent)
    began = time.monotonic()
    assert not checking.answers("https://example.invalid/file")
    assert time.monotonic() - began < 2
