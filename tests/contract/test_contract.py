"""Every method through the same gauntlet. A method written later is covered by being there."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import pytest
import torch

from likewise import methods
from likewise.encoders import Encoder, load_encoder
from likewise.errors import InputError
from likewise.methods.method import Method, Progress, Terms
from likewise.runs import RunDirectory
from likewise.teachers import Frozen, Momentum
from likewise.training.seeding import seed_step
from likewise.training.watching.health import Health
from likewise.verbs.learning.train import train
from tests.contract.gauntlet import ALL, BATCH, batch_at, make, one_step, optimizer_of, student_of

each_method = pytest.mark.parametrize("name", ALL)


class Stepped(NamedTuple):
    """A method after one forward and backward pass, for tests that only look at it."""

    method: Method
    terms: Terms


@pytest.fixture(scope="module", params=ALL)
def stepped(request: pytest.FixtureRequest) -> Stepped:
    method = make(request.param)
    method.before_step(Progress(0, 0.0, 0))
    terms = method(*batch_at(method, 0))
    terms.loss.backward()
    return Stepped(method, terms)


def test_the_loss_is_finite_and_its_gradient_reaches_the_whole_encoder(stepped: Stepped) -> None:
    assert stepped.terms.loss.ndim == 0
    assert stepped.terms.loss.isfinite()
    gradients = {key: p.grad for key, p in student_of(stepped.method).named_parameters()}
    assert [key for key, grad in gradients.items() if grad is None or not grad.abs().sum() > 0] == []


def test_no_gradient_reaches_a_teacher_or_a_memory(stepped: Stepped) -> None:
    for module in stepped.method.modules():
        if isinstance(module, Momentum | Frozen):
            assert all(p.grad is None and not p.requires_grad for p in module.parameters())
    assert all(buffer.grad is None for buffer in stepped.method.buffers())


def test_what_is_reported_is_detached(stepped: Stepped) -> None:
    terms = stepped.terms
    assert all(not value.requires_grad and value.ndim == 0 for value in terms.parts.values())
    assert terms.embedding is not None
    assert not terms.embedding.requires_grad
    assert len(terms.embedding) == BATCH


def test_the_deployed_role_is_there(stepped: Stepped) -> None:
    encoders = stepped.method.encoders()
    assert stepped.method.card.deploy in encoders
    assert all(isinstance(encoder, Encoder) for encoder in encoders.values())


@each_method
def test_bf16_stays_close_to_float32(name: str) -> None:
    exact, coarse = make(name), make(name)
    seed_step(0, 0)
    expected = exact(*batch_at(exact, 0)).loss
    seed_step(0, 0)  # the same permutations and draws
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = coarse(*batch_at(coarse, 0))
    terms.loss.backward()
    assert terms.loss.dtype == torch.float32
    torch.testing.assert_close(terms.loss, expected, rtol=0.1, atol=0.1)


@each_method
@pytest.mark.parametrize("size", [2, 5, 40])
def test_a_batch_of_another_length_works(name: str, size: int) -> None:
    method = make(name)
    if size < method.card.smallest_batch:
        pytest.skip(f"{name} needs {method.card.smallest_batch} images")
    assert method(*batch_at(method, 0)).loss.isfinite()
    assert method(*batch_at(method, 1, size=size)).loss.isfinite()
    assert method(*batch_at(method, 2)).loss.isfinite()


@each_method
def test_two_steps_of_the_same_seed_are_the_same(name: str) -> None:
    states = []
    for _ in range(2):
        method = make(name)
        optimizer = optimizer_of(method)
        for step in range(2):
            one_step(method, optimizer, step)
        states.append(method.state_dict())
    assert all(states[0][key].equal(states[1][key]) for key in states[0])


@each_method
def test_the_step_changes_student_teacher_and_memory(name: str) -> None:
    method = make(name)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    optimizer = optimizer_of(method)
    for step in range(3):
        one_step(method, optimizer, step)
    after = method.state_dict()
    changed = {key for key in before if not before[key].equal(after[key])}
    frozen = [f"{part}." for part, module in method.named_modules() if isinstance(module, Frozen)]
    assert not any(key.startswith(tuple(frozen)) for key in changed)
    before = {key: value for key, value in before.items() if not key.startswith(tuple(frozen))}
    for part in {key.split(".")[0] for key in before}:
        assert any(f"{key}.".startswith(f"{part}.") for key in changed), f"{part} never changes"


@each_method
def test_steps_go_on_from_saved_state_as_if_never_interrupted(name: str, tmp_path: Path) -> None:
    straight = make(name)
    optimizer = optimizer_of(straight)
    for step in range(3):
        one_step(straight, optimizer, step)
        if step == 0:
            torch.save((straight.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    resumed = make(name, seed=9)
    optimizer = optimizer_of(resumed)
    method_state, optimizer_state = torch.load(tmp_path / "state.pt")
    resumed.load_state_dict(method_state)
    optimizer.load_state_dict(optimizer_state)
    for step in (1, 2):
        one_step(resumed, optimizer, step)
    expected, found = straight.state_dict(), resumed.state_dict()
    assert all(expected[key].equal(found[key]) for key in expected)


@each_method
def test_saved_encoders_embed_as_before(name: str, tmp_path: Path) -> None:
    method = make(name)
    one_step(method, optimizer_of(method), 0)
    run = RunDirectory(tmp_path)
    run.save_encoders(method.encoders())
    image = batch_at(method, 1)[0][next(iter(method.views))].image
    for role, encoder in method.encoders().items():
        loaded = load_encoder(run.weights(role))
        with torch.no_grad():
            torch.testing.assert_close(loaded(image), encoder.eval()(image))


def flat(found: tuple[torch.Tensor, list[torch.Tensor]]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Features and maps that say nothing, with their gradient."""
    pooled, stages = found
    return 0.0 * pooled, [0.0 * stage for stage in stages]


@each_method
def test_a_collapsed_encoder_is_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(name)
    encoder = student_of(method)
    whole = Encoder._last  # what pooled features and maps are both made of
    # All images look alike to it, up to rounding noise that normalisation layers must not be able to blow up.
    monkeypatch.setattr(Encoder, "_last", lambda self, x: torch.zeros_like(whole(self, x)) + whole(self, x).mean() * 0)
    every = Encoder.with_stages  # which goes through the network by itself
    monkeypatch.setattr(Encoder, "with_stages", lambda self, x: (self(x), flat(every(self, x))[1]))
    health = Health(every=1, grace_steps=0, grace_fraction=0.0, patience=3)
    for step in range(8):
        terms = method(*batch_at(method, step))
        health.observe(Progress(step, 0.5, 1), terms)
    report = health.report()
    assert encoder is student_of(method)
    assert report.verdict == "collapsed"
    assert report.stop
    assert report.reason


@each_method
def test_every_preset_is_complete_and_its_settings_can_be_given(name: str) -> None:
    method = methods.find(name)
    assert method.presets
    for preset in method.presets.values():
        assert isinstance(preset.settings, method.Settings)
        again = dataclasses.replace(preset.settings)
        assert again == preset.settings
    assert methods.name_of(method) == name


@each_method
def test_a_setting_of_the_wrong_kind_is_one_line_before_anything_is_read(name: str) -> None:
    for setting, hint in get_type_hints(methods.find(name).Settings).items():
        if get_origin(hint) is Literal:
            word = get_args(hint)[0]
            wrong: Any = f"{word}e" if isinstance(word, str) else max(get_args(hint)) + 1
        else:
            wrong = None
        with pytest.raises(InputError, match=setting):
            train("no/such/folder", method=name, **{setting: wrong})


@each_method
def test_settings_do_not_hide_general_ones(name: str) -> None:
    from likewise.training.planning.asked import Asked, Session

    own = {field.name for field in dataclasses.fields(methods.find(name).Settings)}
    general = {field.name for shape in (Asked, Session) for field in dataclasses.fields(shape)}
    assert not own & general


def test_an_unknown_method_is_one_line_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown method 'isdd': did you mean 'isd'"):
        methods.find("isdd")
