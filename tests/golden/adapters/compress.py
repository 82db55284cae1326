"""CompRess: one bank, two banks, and two banks filled by a slow copy, as losses and as steps of the method."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from adapters import Vectors, same
from likewise.encoders import EncoderSpec, build, save_encoder
from likewise.memory import LABEL, Queue
from likewise.methods.compress import CompRess
from likewise.methods.method import Batch, Facts
from likewise.similarity import distill
from likewise.teachers import Frozen, Teacher
from likewise.views import View

SPEC = EncoderSpec(name="resnet18", width=4, stem="small", image_size=16)


class Part(nn.Module):
    """A network whose output is already there: some columns of its input."""

    def __init__(self, start: int, width: int) -> None:
        super().__init__()
        self.columns = slice(start, start + width)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.columns]


def bank_of(v: Vectors, rows: str) -> Queue:
    bank = Queue(*v[rows].shape, columns={"label": LABEL}).double()
    bank.rows.copy_(v[rows])
    bank.position.copy_(v["bank_ptr"])
    return bank


def method_on(v: Vectors, banks: str, keys: str, student: str) -> tuple[CompRess, Tensor]:
    """The method with the vectors in place of its networks' outputs, and what they are shown."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "teacher.safetensors"
        save_encoder(build(SPEC), path)
        settings = CompRess.Settings(
            teacher=str(path),
            banks=banks,
            keys=keys,
            temperature=v.number("temperature"),  # type: ignore[arg-type]
        )
        method = CompRess(build(SPEC), settings, Facts(images=64, batch_size=8, image_size=16)).double()
    outputs = [v["teacher"], v[student], v["student_key"]]
    wide, narrow = outputs[0].shape[1], outputs[1].shape[1]
    method.teacher = Teacher(Part(0, wide), name="vectors", key="vectors", features=wide)
    method.teacher_bank = bank_of(v, "bank_teacher")
    method.student = Part(wide, narrow)  # type: ignore[assignment]
    if banks == "two":
        method.student_bank = bank_of(v, "bank_student")
    if keys == "momentum":
        method.slow = Frozen(Part(wide + narrow, outputs[2].shape[1]))  # type: ignore[assignment]
    return method, torch.cat(outputs, 1).requires_grad_(True)


def form_is_right(v: Vectors, form: str, banks: str, keys: str, student: str) -> CompRess:
    """Loss, gradient and the teacher's bank of one form."""
    method, shown = method_on(v, banks, keys, student)
    terms = method.step({"image": View(shown)}, Batch(torch.arange(len(shown))))
    terms.loss.backward()
    same(terms.loss, v[f"loss_{form}"])
    assert shown.grad is not None
    start = v["teacher"].shape[1]
    same(shown.grad[:, start : start + v[student].shape[1]], v[f"grad_student_{form}"])
    assert not shown.grad[:, :start].any()
    same(method.teacher_bank.rows, v["bank_teacher_after"])
    return method


def check_one_bank(v: Vectors) -> None:
    form_is_right(v, "1q", "one", "student", "student_same_dim")


def check_two_banks(v: Vectors) -> None:
    method = form_is_right(v, "2q", "two", "student", "student")
    same(method.student_bank.rows, v["bank_student_after_2q"])


def check_two_banks_with_a_slow_copy(v: Vectors) -> None:
    method = form_is_right(v, "2q_momentum", "two", "momentum", "student")
    same(method.student_bank.rows, v["bank_student_after_2q_momentum"])


def check_loss_alone(v: Vectors) -> None:
    student, temperature = v.leaf("student"), v.number("temperature")
    told = distill(
        student, v["teacher"], v["bank_teacher"], temperature, temperature, student_memory_KD=v["bank_student"]
    )
    told.loss.backward()
    same(told.loss, v["loss_2q"])
    assert student.grad is not None
    same(student.grad, v["grad_student_2q"])
