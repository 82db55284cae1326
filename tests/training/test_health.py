"""Health: collapse is seen, and health is not mistaken for it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from likewise.methods.method import Progress, Terms
from likewise.training.watching.health import Health, Report, effective_rank, gram, spread

SETTINGS = {"temperature_student": 0.1, "momentum": 0.99, "learning_rate": 0.06, "batch_size": 256, "queue_size": 4096}


def rich(rows: int = 256, dims: int = 64) -> Tensor:
    return torch.randn(rows, dims)


def same(rows: int = 256, dims: int = 64, noise: float = 1e-3) -> Tensor:
    """Everything at one place, up to a little noise."""
    return torch.ones(rows, dims) + noise * torch.randn(rows, dims)


def line(rows: int = 256, dims: int = 64) -> Tensor:
    """Everything at one of two places: spread, but of one dimension."""
    return torch.randn(dims) * torch.randn(rows, 1).sign()


# Measures ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dims", [16, 128, 2048])
def test_spread_is_one_on_the_sphere_and_zero_at_a_point(dims: int) -> None:
    torch.manual_seed(0)
    assert float(spread(rich(4096, dims))) == pytest.approx(1.0, abs=0.02)
    assert float(spread(torch.ones(64, dims))) == pytest.approx(0.0, abs=1e-6)


def test_spread_does_not_know_lengths() -> None:
    torch.manual_seed(0)
    x_BD = rich()
    assert float(spread(x_BD * torch.rand(256, 1).add(0.1) * 50)) == pytest.approx(float(spread(x_BD)), rel=1e-5)


def naive_rank(x_BD: Tensor) -> float:
    unit_BD = F.normalize(x_BD.double(), dim=1)
    values = torch.linalg.svdvals(unit_BD - unit_BD.mean(0))
    share = values[values > 1e-12] / values.sum()
    return float((-(share * share.log()).sum()).exp())


@pytest.mark.parametrize("shape", [(256, 64), (64, 256), (100, 100)])
def test_effective_rank_is_that_of_the_singular_values(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x_BD = rich(*shape) * torch.linspace(0.05, 1.0, shape[1])
    assert effective_rank(gram(x_BD)) == pytest.approx(naive_rank(x_BD), rel=2e-3)
    assert gram(x_BD).shape == (min(shape),) * 2


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000))
def test_effective_rank_lies_between_one_and_the_smaller_side(rows: int, dims: int, seed: int) -> None:
    torch.manual_seed(seed)
    assert 1.0 - 1e-6 <= effective_rank(gram(rich(rows, dims))) <= min(rows, dims) + 1e-3


def test_effective_rank_counts_directions() -> None:
    torch.manual_seed(0)
    assert effective_rank(gram(line())) == pytest.approx(1.0, abs=0.01)
    basis_3D = torch.linalg.qr(torch.randn(64, 3)).Q.T
    assert effective_rank(gram(torch.randn(256, 3) @ basis_3D)) == pytest.approx(3.0, abs=0.1)


def test_a_point_has_rank_one_not_that_of_its_rounding() -> None:
    torch.manual_seed(0)
    assert effective_rank(gram(torch.ones(256, 64) * 0.1)) == 1.0
    assert effective_rank(gram(same(noise=1e-5))) == 1.0


def test_rank_of_what_is_no_number() -> None:
    assert math.isnan(effective_rank(gram(torch.full((8, 8), math.nan))))


# Verdicts ------------------------------------------------------------------------------------------------------------


def run(
    make: Callable[[int], Tensor | None],
    *,
    steps: int = 1000,
    first: int = 0,
    loss: Callable[[int], float] = lambda step: 5.0 + 4.0 / (1 + step) + 0.1 * math.sin(step),
    parts: dict[str, float] | None = None,
    report_every: int = 50,
    health: Health | None = None,
) -> list[tuple[int, Report]]:
    """A run of `steps` steps whose embedding at a step is `make(step)`; the reports by step."""
    torch.manual_seed(0)
    health = health or Health(choices=4096, settings=SETTINGS)
    reports = []
    for step in range(first, steps):
        if step % health.every == 0:  # other steps are passed over
            named = {name: torch.tensor(value) for name, value in (parts or {}).items()}
            health.observe(Progress(step, step / steps, 0), Terms(torch.tensor(loss(step)), named, make(step)))
        if (step + 1) % report_every == 0:
            reports.append((step + 1, health.report()))
    return reports


def test_a_good_run_is_healthy_throughout() -> None:
    reports = run(lambda step: rich())
    assert {report.verdict for _, report in reports} == {"healthy"}
    assert reports[-1][1].metrics()["health"] == "healthy"
    assert reports[-1][1].spread == pytest.approx(1.0, abs=0.1)
    assert reports[-1][1].effective_rank == pytest.approx(60, abs=5)


def test_before_the_first_check_there_is_nothing_to_say() -> None:
    report = Health().report()
    assert (report.verdict, report.stop, report.spread) == ("healthy", False, None)


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_an_untrained_network_is_not_called_collapsed(noise: float) -> None:
    """It starts with nearly the same embedding for everything (spread 0.05 to 0.2) and learns."""
    reports = run(lambda step: same(noise=noise) if step < 250 else rich())
    assert {report.verdict for _, report in reports} == {"healthy"}


def test_collapse_is_called_after_the_grace_and_several_checks() -> None:
    reports = run(lambda step: same(), steps=2000)
    verdicts = {step: report.verdict for step, report in reports}
    assert all(verdict != "collapsed" for step, verdict in verdicts.items() if step <= 400)
    assert verdicts[450] == "collapsed"
    stops = [step for step, report in reports if report.stop]
    assert stops[0] == 550
    assert verdicts[300] == "at risk", "everything collapsed for 300 steps is worth a word even during the grace"


@pytest.mark.parametrize(("steps", "fraction_first"), [(300, False), (100_000, True)])
def test_never_in_the_first_tenth_nor_in_the_first_300_steps(steps: int, fraction_first: bool) -> None:
    until = steps // 10 if fraction_first else 300
    health = Health(settings=SETTINGS)
    for step in range(0, until, 25):
        health.observe(Progress(step, step / steps, 0), Terms(torch.tensor(1.0), {}, same(32)))
        report = health.report()
        assert report.verdict != "collapsed"
        assert not report.stop


def test_one_good_check_starts_the_count_again() -> None:
    reports = run(lambda step: rich() if step % 125 == 0 else same(), steps=3000)
    assert not any(report.stop or report.verdict == "collapsed" for _, report in reports)


def test_a_run_that_recovers_is_healthy_again() -> None:
    reports = run(lambda step: same() if step < 500 else rich(), steps=1200)
    assert "collapsed" in {report.verdict for _, report in reports}
    assert reports[-1][1].verdict == "healthy"


def test_collapse_onto_a_line_is_seen_by_the_rank_alone() -> None:
    torch.manual_seed(1)
    reports = run(lambda step: line(), steps=1000)
    assert float(spread(line())) > 0.5
    assert reports[-1][1].verdict == "collapsed"
    assert reports[-1][1].stop


def test_small_batches_have_no_rank_to_judge() -> None:
    """Two centred rows always lie on a line; that is no collapse."""
    reports = run(lambda step: rich(rows=2))
    assert {report.verdict for _, report in reports} == {"healthy"}
    reports = run(lambda step: rich(rows=1))
    assert reports[-1][1].spread is None


def test_reason_names_the_settings_at_fault_with_their_values() -> None:
    report = run(lambda step: same())[-1][1]
    assert report.reason.startswith("all images get the same embedding (spread 0.00")
    for named in ("momentum=0.99", "learning_rate=0.06", "temperature_student=0.1", "batch_size=256"):
        assert named in report.reason
    assert "queue_size" not in report.reason
    assert "\n" not in report.reason


def test_reason_without_known_settings_still_says_where_to_look() -> None:
    report = run(lambda step: same(), health=Health())[-1][1]
    assert "look first at predictor, momentum, learning rate, temperature, batch size" in report.reason


def test_low_but_not_collapsed_is_a_risk_and_no_reason_to_stop() -> None:
    reports = run(lambda step: same(noise=0.035))
    assert reports[-1][1].verdict == "at risk"
    assert "almost the same" in reports[-1][1].reason
    assert not any(report.stop for _, report in reports)


def test_too_few_dimensions_are_a_risk() -> None:
    """Hardly more than a line, though the spread is fine."""
    basis_2D = torch.linalg.qr(torch.randn(64, 2)).Q.T * torch.tensor([[1.0], [0.1]])
    reports = run(lambda step: torch.randn(256, 2) @ basis_2D)
    assert reports[-1][1].verdict == "at risk"
    assert "of 64 dimensions" in reports[-1][1].reason
    assert not any(report.stop for _, report in reports)


@pytest.mark.parametrize(
    ("entropy", "verdict", "words"),
    [
        (math.log(4096) * 0.99, "at risk", "equally similar"),
        (0.001, "at risk", "a single neighbour"),
        (3.0, "healthy", ""),
    ],
)
def test_entropy_of_the_teacher(entropy: float, verdict: str, words: str) -> None:
    report = run(lambda step: rich(), parts={"teacher_entropy": entropy})[-1][1]
    assert report.verdict == verdict
    assert words in report.reason
    if words:
        assert "temperature_student=0.1" in report.reason


def test_loss_at_chance_level() -> None:
    report = run(lambda step: rich(), loss=lambda step: math.log(4096) + 0.01 * math.sin(step))[-1][1]
    assert report.verdict == "at risk"
    assert "chance level (ln 4096 = 8.32)" in report.reason


def test_flat_loss_but_not_at_the_end_where_the_rate_is_tiny() -> None:
    reports = dict(run(lambda step: rich(), loss=lambda step: 3.0))
    assert "has not moved from 3" in reports[700].reason
    assert reports[1000].verdict == "healthy"


def test_memory_that_knows_no_classes() -> None:
    def watch(purity: float) -> Report:
        return run(lambda step: rich(), parts={"purity": purity}, health=Health(classes=10))[-5][1]

    assert "no more often than by chance" in watch(0.1).reason
    assert watch(0.3).verdict == "healthy"


def test_embedding_that_is_no_number_is_a_risk() -> None:
    report = run(lambda step: torch.full((32, 16), math.nan))[-1][1]
    assert report.verdict == "at risk"
    assert "no numbers" in report.reason


def test_methods_without_an_embedding_are_judged_by_their_loss() -> None:
    reports = run(lambda step: None)
    assert reports[-1][1].verdict == "healthy"
    assert reports[-1][1].metrics() == {"spread": None, "effective_rank": None, "health": "healthy"}


def test_accumulated_passes_of_one_step_are_one_check() -> None:
    health = Health(grace_steps=0, grace_fraction=0.0)
    for _ in range(50):
        health.observe(Progress(25, 0.5, 0), Terms(torch.tensor(1.0), {}, same()))
    assert health.report().verdict == "healthy"


def test_reports_too_rare_to_read_every_check_still_see_the_last_ones() -> None:
    reports = run(lambda step: rich() if step < 1000 else same(), steps=4000, report_every=4000)
    assert reports[0][1].stop


def test_large_batches_and_half_precision_are_looked_at_in_part() -> None:
    """The work does not grow with the batch: the matrix whose spectrum is taken never exceeds 256 x 256."""
    health = Health()
    health.observe(Progress(0, 0.0, 0), Terms(torch.tensor(1.0), {}, torch.randn(2000, 1024).bfloat16()))
    check = health._pending[0]
    assert check.gram is not None
    assert check.gram.shape == (256, 256)
    assert check.gram.dtype == torch.float32
