"""GCD and PromptCAL: which labels count, the order of a step, both stages, and what of the encoder is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from likewise.data.batches.streams import MAIN, Rows, evenly
from likewise.encoders import EncoderSpec, build, load_encoder, save_encoder
from likewise.encoders.own.prompted_vit import PROMPTS, PromptedViT
from likewise.encoders.two_vectors import TwoVectors
from likewise.errors import InputError
from likewise.memory import Queue
from likewise.methods.gcd import GCD
from likewise.methods.method import Facts, Progress
from likewise.methods.parts.discovery import branch_head, freeze, gcd_loss, last_block
from likewise.methods.promptcal import Branch, PromptCAL
from likewise.similarity import similarities, unit
from likewise.similarity.mutual import supervised_contrast
from likewise.teachers import Momentum
from tests.contract.gauntlet import BATCH, batch_at, make, one_step, optimizer_of

PROMPTED = EncoderSpec(name="vit_tiny_patch16_prompts", image_size=32, stem="small")


def test_hidden_labels_are_in_no_loss() -> None:
    torch.manual_seed(0)
    h = torch.randn(12, 8)
    settings = GCD.Settings()
    labels = torch.tensor([0, 0, 1, -1, -1, -1]).repeat(2)
    total, _, by_label = gcd_loss(h, labels, settings)
    known = labels >= 0
    alone = supervised_contrast(similarities(unit(h[known]), unit(h[known]), settings.temperature), labels[known])
    torch.testing.assert_close(by_label, alone)
    none = gcd_loss(h, torch.full_like(labels, -1), settings)
    assert none[2] == 0
    torch.testing.assert_close(none[0], (1 - settings.supervised) * total.new_tensor(float(none[1])))


@pytest.mark.parametrize("name", ["gcd", "promptcal"])
def test_without_labels_one_line_says_so(name: str) -> None:
    from likewise import methods

    found = methods.find(name)
    encoder = build(EncoderSpec(name="resnet10t", width=8, image_size=16))
    facts = Facts(images=9, batch_size=4, image_size=16)
    with pytest.raises(InputError, match=f"{name} needs labels of some images"):
        found(encoder, found.Settings(), facts)  # type: ignore[call-arg]


def test_labelled_and_unlabelled_images_come_equally_often() -> None:
    labels = torch.full((400,), -1)
    labels[:40] = 1
    order = evenly(Rows(labels.numpy(), {}), 100, 3)
    drawn = torch.cat([torch.from_numpy(order.batch(step)) for step in range(40)])
    assert (labels[drawn] >= 0).float().mean() == pytest.approx(0.5, abs=0.03)
    assert order.steps_per_epoch == 4
    assert evenly(Rows(labels[:40].numpy(), {}), 10, 3).batch(0).max() < 40
    assert GCD.streams(GCD.Settings(), Facts(images=400, batch_size=100, image_size=16))[MAIN].draw is evenly


def test_the_banks_are_read_as_they_were_and_then_written(monkeypatch: pytest.MonkeyPatch) -> None:
    method = make("promptcal", rise_epochs=0.0)
    assert isinstance(method, PromptCAL)
    events: list[str] = []
    branch, push, update = PromptCAL.branch, Queue.push, Momentum.update

    def branched(self: PromptCAL, *rest: object) -> Branch:
        events.append(f"read {len(method.queue)}")
        return branch(self, *rest)  # type: ignore[arg-type]

    def pushed(self: Queue, rows_BD: Tensor, **columns: Tensor | None) -> None:
        events.append(f"write {len(rows_BD)}")
        torch.testing.assert_close(rows_BD.norm(dim=1), torch.ones(len(rows_BD)))
        assert columns["label"] is not None
        push(self, rows_BD, **columns)

    def moved(self: Momentum, student: torch.nn.Module, momentum: float) -> None:
        events.append(f"move {momentum}")
        update(self, student, momentum)

    monkeypatch.setattr(PromptCAL, "branch", branched)
    monkeypatch.setattr(Queue, "push", pushed)
    monkeypatch.setattr(Momentum, "update", moved)
    optimizer = optimizer_of(method)
    for step in range(2):
        one_step(method, optimizer, step)
    rows = 2 * BATCH
    step = [f"write {rows}", f"write {rows}", "move 0.99"]
    assert events == ["read 0", "read 0", *step, f"read {rows}", f"read {rows}", *step]


def test_the_affinity_loss_waits_for_the_bank_and_rises() -> None:
    method = make("promptcal", rise_epochs=2.0)
    optimizer = optimizer_of(method)
    first = one_step(method, optimizer, 0).parts
    second = one_step(method, optimizer, 1).parts
    assert first["affinity"] == 0
    assert second["affinity"] > 0
    assert method.share == pytest.approx(0.6 / 24)  # 12 steps an epoch
    method.before_step(Progress(24, 0.5, 2))
    assert method.share == pytest.approx(0.6)


def test_labels_correct_what_the_graph_says() -> None:
    method = make("promptcal")
    assert isinstance(method, PromptCAL)
    torch.manual_seed(0)
    query, bank = unit(torch.randn(6, 5)), unit(torch.randn(9, 5))
    labels, bank_labels = torch.tensor([0, 1, -1, 0, 1, -1]), torch.tensor([0, 1, -1] * 3)
    pairs = method.pairs(query, bank, labels, bank_labels)
    known = (labels >= 0).unsqueeze(1) & (bank_labels >= 0)
    same = labels.unsqueeze(1) == bank_labels
    assert pairs.positive[known].equal(same[known])
    assert not (pairs.positive & pairs.negative).any()


def test_a_teacher_begins_as_the_student_that_was_loaded() -> None:
    method = make("promptcal")
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1.0)
    method.before_step(Progress(0, 0.0, 0))
    pairs = zip(method.student.state_dict().values(), method.teacher.network.state_dict().values(), strict=True)
    assert all(one.equal(other) for one, other in pairs)


def test_the_first_stage_has_neither_teacher_nor_bank() -> None:
    method = make("promptcal", stage=1)
    assert set(method.encoders()) == {"student"}
    assert not any(isinstance(part, Momentum | Queue) for part in method.modules())
    terms = method(*batch_at(method, 0))
    terms.loss.backward()
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


def test_settings_of_the_other_stage_are_idle() -> None:
    assert PromptCAL.Settings(stage=1).idle()["momentum"] == "stage=2"
    assert PromptCAL.Settings().idle() == {}
    with pytest.raises(InputError, match="stage=3: allowed are 1 and 2"):
        PromptCAL.Settings(stage=3)  # type: ignore[arg-type]


def test_prompts_are_another_answer_and_are_saved_with_the_encoder(tmp_path: Path) -> None:
    encoder = build(PROMPTED, seed=0).eval()
    backbone = encoder.backbone
    assert isinstance(backbone, PromptedViT)
    assert backbone.prompts.shape == (12, PROMPTS, 192)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        pooled, second = TwoVectors(encoder)(image)
        torch.testing.assert_close(pooled, encoder(image))
        torch.testing.assert_close(second, backbone.with_prompts(image)[1][:, :2].mean(1))
        assert encoder.map(image).shape == (2, 192, 8, 8)
        assert [stage.shape for stage in encoder.stages(image)] == [(2, 192, 8, 8)] * 12
        before = encoder(image)
        backbone.prompts.mul_(3.0)
        assert not torch.allclose(before, encoder(image))
    save_encoder(encoder, tmp_path / "encoder.safetensors")
    again = load_encoder(tmp_path / "encoder.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(again(image), encoder(image))


def test_only_the_last_block_and_prompts_are_trained() -> None:
    encoder = build(PROMPTED, seed=0)
    freeze(encoder, "last")
    trained = {name for name, p in encoder.backbone.named_parameters() if p.requires_grad}
    assert "prompts" in trained
    assert all(name == "prompts" or name.startswith("blocks.11.") for name in trained)
    resnet = build(EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16))
    assert last_block(resnet.backbone) is resnet.backbone.layer4


def test_the_head_ends_in_unit_prototypes() -> None:
    head = branch_head(16, GCD.Settings(hidden=8, bottleneck=4, embedding=6))
    out = head(torch.randn(5, 16))
    assert out.shape == (5, 6)
    assert out.abs().max() <= 1.0 + 1e-6


def test_a_second_vector_of_a_resnet_looks_where_its_query_says() -> None:
    encoder = build(EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16)).eval()
    vectors = TwoVectors(encoder)
    image = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert vectors.query is not None
        vectors.query.zero_()
        pooled, second = vectors(image)
    torch.testing.assert_close(pooled, second)  # equal attention everywhere is the mean
