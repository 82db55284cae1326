"""Optimisers against the formulas, written out once more in the slowest way, and against official numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from likewise.errors import InputError
from likewise.gradients import clip_each
from likewise.methods.method import Optimisation
from likewise.training.optimising.optimisers import LARS, LarsForm, build, set_decay, set_rate

FORMS: list[LarsForm] = ["byol", "simclr", "swav", "paws"]


def lars(**changes: Any) -> Optimisation:
    return Optimisation(optimiser="lars", **{"learning_rate": 0.2, "weight_decay": 0.01, **changes})


def naive_lars(
    weight: Tensor, gradients: list[Tensor], rates: list[float], form: LarsForm, decay: float, trust: float = 1e-3
) -> Tensor:
    """The formulas of the class, one tensor and one step at a time."""
    w, mu = weight.clone(), torch.zeros_like(weight)
    for gradient, lr in zip(gradients, rates, strict=True):
        g = gradient
        if form in {"byol", "simclr"}:
            g = g + decay * w
            both = w.norm() > 0 and g.norm() > 0
            g = g * (trust * w.norm() / g.norm() if both else 1.0)
        elif w.norm() > 0 and g.norm() > 0:
            g = (g + decay * w) * (trust * w.norm() / (g.norm() + decay * w.norm() + 1e-8))
        inside = form in {"simclr", "paws"}
        mu = 0.9 * mu + (lr * g if inside else g)
        w = w - (mu if inside else lr * mu)
    return w


def train(
    optimiser: torch.optim.Optimizer, parameter: nn.Parameter, gradients: list[Tensor], rates: list[float]
) -> None:
    for gradient, rate in zip(gradients, rates, strict=True):
        set_rate(optimiser, rate)
        parameter.grad = gradient.clone()
        optimiser.step()


# Official numbers: five steps of the Barlow Twins optimiser (the form of BYOL), float64.

WEIGHT_INIT = np.array([
    -1.5012944582866268, -0.7077500449310176, -1.561374409918584, 0.5446684730090552, 1.092297391457718,
    -0.39291911643033894, -0.45581399834232705, -0.4097025215970757, -0.3600365225546147, -0.5051809514526432,
    1.425367074742493, 1.646407068280707,
]).reshape((4, 3))  # fmt: skip
BIAS_INIT = np.array([
    1.0912112402230698, -0.12629866321135996, -0.2658744792434427, 0.5220675059522385,
]).reshape((4,))  # fmt: skip
WEIGHT_GRADS = np.array([
    0.2440735612962478, -0.29246215837905926, 0.8245499914253308, -1.6670779889148255, 0.9369166911353382,
    -0.4140999105023429, -0.34635755805016094, -1.3188906669395302, -1.0426848485899054, -0.5131900561626278,
    -0.668544751969531, -2.347810144091951, 1.3814513589489206, 0.11992734586736918, 0.43136799221934985,
    0.5755913318265999, 1.006620744123664, 0.7233989185057832, 1.1591952761654827, -1.6335832060999265,
    0.2643477874745009, 0.577399979803462, 0.2788925597990647, -0.534873965670965, -1.4413537853062197,
    -0.32827095185629146, 0.9394240804181244, 0.03967725564344355, -2.298261594274009, 0.3333253788944557,
    -1.0134476040914993, -0.06528725541890959, 1.203411847636264, -0.34231000065494016, 0.9810191782601564,
    -0.13283861436483674, 0.663230482408149, -0.7991397356669504, -1.7630143931656819, -1.992322027614651,
    -1.7911472810704268, 1.2546788489117522, 1.0601193777995446, -0.48662700895598476, -0.5544989481945669,
    -0.37652288151987406, -1.4740703099680776, -1.0092399585982141, 0.6925745535306107, -1.9315055059461095,
    0.9114694207416946, 0.28915850281793987, -1.2766974802723954, -1.3383111085157042, 1.6124827158514736,
    -1.8050658970390907, 0.8914657308741071, -0.29159633453972855, 0.1773217065832274, 1.154068104466748,
]).reshape((5, 4, 3))  # fmt: skip
BIAS_GRADS = np.array([
    -0.1731343740708018, 0.9536278461374186, -0.7336589981867585, -0.7498374713408488, -1.36147195050033,
    -1.6267373072287772, -1.0666439965796464, 1.570400714827036, -1.3939006041188275, -1.2881823471979361,
    -0.26258739917941193, 1.993082537947387, -0.12307255278741855, 0.8787253453461598, -0.31842454499744727,
    0.375348908294663, 0.43813202236486115, -0.33679969789825315, -0.34947115804534284, 3.8473312663763966,
]).reshape((5, 4))  # fmt: skip
WEIGHT_FINAL = np.array([
    -1.5021132808179847, -0.7068370566318934, -1.5624420775966033, 0.5460353769727379, 1.0927646246821434,
    -0.39352860540877815, -0.45653872776462223, -0.40682963616160517, -0.3600727725635972, -0.5048848216675965,
    1.4255171751366147, 1.6488176988575212,
]).reshape((4, 3))  # fmt: skip
BIAS_FINAL = np.array([
    1.1342397893980516, -0.10783141244581096, -0.225848789740905, 0.4630673627552339,
]).reshape((4,))  # fmt: skip


def test_lars_repeats_the_official_trace() -> None:
    weight, bias = nn.Parameter(torch.tensor(WEIGHT_INIT)), nn.Parameter(torch.tensor(BIAS_INIT))
    groups = [{"params": [weight]}, {"params": [bias], "rate": 0.0048 / 0.2}]
    optimiser = build(groups, lars(decay_norms_and_biases=False))
    for weight_gradient, bias_gradient in zip(WEIGHT_GRADS, BIAS_GRADS, strict=True):
        weight.grad, bias.grad = torch.tensor(weight_gradient), torch.tensor(bias_gradient)
        optimiser.step()
    np.testing.assert_allclose(weight.detach().numpy(), WEIGHT_FINAL, rtol=1e-12)
    np.testing.assert_allclose(bias.detach().numpy(), BIAS_FINAL, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_lars_equals_the_formula_while_the_rate_changes(form: LarsForm, decay: float) -> None:
    torch.manual_seed(0)
    start = torch.randn(5, 4, dtype=torch.float64)
    gradients = [torch.randn(5, 4, dtype=torch.float64) for _ in range(6)]
    rates = [0.1, 0.3, 0.2, 0.2, 0.05, 0.0]
    parameter = nn.Parameter(start.clone())
    train(LARS([parameter], lr=0.1, weight_decay=decay, form=form), parameter, gradients, rates)
    torch.testing.assert_close(
        parameter.detach(), naive_lars(start, gradients, rates, form, decay), rtol=1e-12, atol=1e-14
    )


def test_the_forms_differ_where_they_should() -> None:
    """byol and swav differ by the norm, swav and paws only once the rate changes."""
    torch.manual_seed(0)
    start, gradients = torch.randn(3, 3).double(), [torch.randn(3, 3).double() for _ in range(3)]

    def final(form: LarsForm, rates: list[float]) -> Tensor:
        parameter = nn.Parameter(start.clone())
        train(LARS([parameter], lr=0.1, weight_decay=0.5, form=form), parameter, gradients, rates)
        return parameter.detach()

    assert not torch.allclose(final("byol", [0.1] * 3), final("swav", [0.1] * 3), rtol=1e-9)
    torch.testing.assert_close(final("swav", [0.1] * 3), final("paws", [0.1] * 3), rtol=1e-12, atol=1e-14)
    assert not torch.allclose(final("swav", [0.1, 0.2, 0.3]), final("paws", [0.1, 0.2, 0.3]), rtol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_lars_where_a_norm_is_zero(form: LarsForm, zero: str) -> None:
    start = torch.zeros(2, 2) if zero == "weight" else torch.ones(2, 2)
    gradient = torch.zeros(2, 2) if zero == "gradient" else torch.ones(2, 2)
    parameter = nn.Parameter(start.clone())
    train(LARS([parameter], lr=0.1, weight_decay=0.5, form=form), parameter, [gradient], [0.1])
    torch.testing.assert_close(parameter.detach(), naive_lars(start, [gradient], [0.1], form, 0.5))
    assert bool(torch.isfinite(parameter).all())


def test_lars_leaves_gradients_and_parameters_without_gradients_alone() -> None:
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimiser = LARS([used, unused], lr=0.1, weight_decay=0.1)
    used.grad = torch.full((2, 2), 3.0)
    optimiser.step()
    assert torch.equal(used.grad, torch.full((2, 2), 3.0))
    assert torch.equal(unused.detach(), torch.ones(2, 2))
    assert unused not in optimiser.state


def test_lars_handles_several_types_at_once() -> None:
    single, double = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2).double())
    optimiser = LARS([single, double], lr=0.1)
    single.grad, double.grad = torch.ones(2, 2), torch.ones(2, 2).double()
    optimiser.step()
    torch.testing.assert_close(single.detach().double(), double.detach())
    assert single.dtype == torch.float32


def test_lars_runs_a_closure() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    optimiser = LARS([parameter], lr=0.1)

    def closure() -> float:
        optimiser.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimiser.step(closure) == 4.0
    assert not torch.equal(parameter.detach(), torch.ones(2, 2))


@pytest.mark.parametrize("kind", ["sgd", "adamw", "muon", *FORMS])
def test_state_survives_saving(kind: str) -> None:
    """n steps, save, load into a fresh optimiser, n steps: the same bits as 2n steps."""
    torch.manual_seed(0)
    gradients = [torch.randn(4, 3) for _ in range(6)]
    start = torch.randn(4, 3)
    form: Any = kind if kind in FORMS else "byol"
    optimisation = Optimisation(optimiser="lars" if kind in FORMS else kind)  # type: ignore[arg-type]

    def fresh(value: Tensor) -> tuple[nn.Parameter, torch.optim.Optimizer]:
        parameter = nn.Parameter(value.clone())
        return parameter, build([{"params": [parameter], "rate": 2.0}], replace(optimisation, lars_form=form))

    whole, optimiser = fresh(start)
    train(optimiser, whole, gradients, [0.1] * 6)
    half, optimiser = fresh(start)
    train(optimiser, half, gradients[:3], [0.1] * 3)
    resumed, after = fresh(half.detach())
    after.load_state_dict(optimiser.state_dict())
    train(after, resumed, gradients[3:], [0.1] * 3)
    assert torch.equal(whole.detach(), resumed.detach())


# build ---------------------------------------------------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(torch.tensor(1.0))


def decays(optimiser: torch.optim.Optimizer) -> dict[int, float]:
    return {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}


@pytest.mark.parametrize("kind", ["sgd", "adamw", "lars", "muon"])
def test_norms_and_biases_are_left_out_when_asked(kind: Any) -> None:
    model = Small()
    optimiser = build(
        [{"params": model.parameters()}],
        Optimisation(optimiser=kind, weight_decay=0.3, decay_norms_and_biases=False),
    )
    found = decays(optimiser)
    assert {name: found[id(p)] for name, p in model.named_parameters()} == {
        "conv.weight": 0.3,
        "conv.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "scale": 0.0,
    }
    if kind in {"lars", "muon"}:
        switch = "adapt" if kind == "lars" else "matrices"
        assert [group[switch] for group in optimiser.param_groups] == [True, False]


@pytest.mark.parametrize("kind", ["sgd", "adamw", "lars", "muon"])
def test_everything_is_decayed_otherwise(kind: Any) -> None:
    model = Small()
    optimiser = build([{"params": model.parameters()}], Optimisation(optimiser=kind, weight_decay=0.3))
    assert set(decays(optimiser).values()) == {0.3}
    assert len(optimiser.param_groups) == (2 if kind == "muon" else 1)


def test_group_keeps_its_own_decay_and_rate() -> None:
    model = Small()
    groups = [
        {"params": [model.conv.weight]},
        {"params": [model.conv.bias], "rate": 0.1, "weight_decay": 0.0, "name": "bias"},
    ]
    optimiser = build(groups, Optimisation(learning_rate=0.5, weight_decay=0.3))
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0.0]
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.5, 0.05])
    set_rate(optimiser, 0.2)
    assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([0.2, 0.02])
    assert all(isinstance(group["lr"], float) for group in optimiser.param_groups)


def test_both_parts_of_a_cut_group_keep_its_rate() -> None:
    optimiser = build([{"params": Small().parameters(), "rate": 10.0}], lars(decay_norms_and_biases=False))
    set_rate(optimiser, 0.3)
    assert [group["lr"] for group in optimiser.param_groups] == [3.0, 3.0]


def test_empty_parts_make_no_groups() -> None:
    optimiser = build([{"params": [Small().conv.weight]}, {"params": []}], lars(decay_norms_and_biases=False))
    assert len(optimiser.param_groups) == 1


def test_sgd_is_torchs_with_momentum_and_decay_on_all() -> None:
    """The ISD recipe: one step by hand."""
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimiser = build([{"params": [parameter]}], Optimisation(learning_rate=0.1, weight_decay=0.5, momentum=0.9))
    parameter.grad = torch.tensor([1.0, 1.0])
    optimiser.step()
    torch.testing.assert_close(parameter.detach(), torch.tensor([1.0 - 0.1 * 1.5, -2.0 - 0.1 * 0.0]))


def test_adamw_takes_its_first_beta_from_momentum() -> None:
    optimiser = build([{"params": [nn.Parameter(torch.ones(1))]}], Optimisation(optimiser="adamw", momentum=0.8))
    assert optimiser.param_groups[0]["betas"] == (0.8, 0.999)


@pytest.mark.parametrize(
    ("groups", "optimisation", "message"),
    [
        (
            [{"params": [nn.Parameter(torch.ones(1))], "lr": 1.0}],
            Optimisation(),
            "unknown key of a parameter group 'lr'",
        ),
        ([], Optimisation(), "nothing to train"),
        ([{"params": []}], Optimisation(), "nothing to train"),
        ([{"params": [nn.Parameter(torch.ones(1))]}], Optimisation(optimiser="adam"), "did you mean 'adamw'"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_is_refused(groups: list[dict[str, Any]], optimisation: Optimisation, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(groups, optimisation)


def test_unknown_form_and_bad_trust_are_refused() -> None:
    parameter = nn.Parameter(torch.ones(1))
    with pytest.raises(InputError, match="unknown form of LARS"):
        build([{"params": [parameter]}], lars(lars_form="moby"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="must be above 0"):
        LARS([parameter], lr=0.1, trust=0.0)


# While training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sgd", "adamw", "lars", "muon"])
def test_a_scheduled_decay_reaches_matrices_without_a_decay_of_their_own(kind: Any) -> None:
    matrix, vector, own = (nn.Parameter(torch.ones(*shape)) for shape in ((2, 2), (2,), (3, 3)))
    groups = [{"params": [matrix, vector]}, {"params": [own], "weight_decay": 0.7}]
    optimiser = build(groups, Optimisation(optimiser=kind, weight_decay=0.04, decay_norms_and_biases=False))
    set_decay(optimiser, 0.4)
    found = decays(optimiser)
    assert [found[id(p)] for p in (matrix, vector, own)] == [0.4, 0.0, 0.7]


def test_each_gradient_is_clipped_for_itself() -> None:
    parameters = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(2).double())]
    unused = nn.Parameter(torch.zeros(2))
    for parameter, length in zip(parameters, (30.0, 0.5, 6.0), strict=True):
        parameter.grad = torch.nn.functional.normalize(torch.randn_like(parameter).flatten(), dim=0).view_as(parameter)
        parameter.grad *= length
    before = [p.grad.clone() for p in parameters if p.grad is not None]
    clip_each([*parameters, unused], 3.0)
    after = [p.grad for p in parameters if p.grad is not None]
    assert [float(grad.norm()) for grad in after] == pytest.approx([3.0, 0.5, 3.0], rel=1e-6)
    for grad, old in zip(after, before, strict=True):
        torch.testing.assert_close(grad / grad.norm(), old / old.norm())
    assert unused.grad is None
