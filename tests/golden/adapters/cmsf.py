"""CMSF: 2Q with its pool, clusters, labels, and the step with few labels: loss, gradient, purities and memories."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from adapters import Vectors, same
from likewise.memory import Queue
from likewise.methods.cmsf import CMSF
from likewise.methods.cmsf_semi import CMSFSemi
from likewise.methods.method import Batch, Facts, Terms
from likewise.views import View

COVERS = ("cmsf_semi",)
OFFICIAL: dict[str, Any] = {"few": "any"}


class AsGiven(nn.Identity):
    """The place of an encoder where vectors come in as images."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features


def facts(v: Vectors) -> Facts:
    classes = len(v["semi_classifier_bias"])
    return Facts(images=len(v["pool_slot"]), batch_size=len(v["labels"]), image_size=1, classes=classes)


def transparent(method: CMSF | CMSFSemi, v: Vectors) -> None:
    """Student and teacher hand their input through, and the memory is as the official step finds it."""
    method.double()
    dim = v["queue"].shape[1]
    method.student = nn.Sequential(AsGiven(dim))
    method.predictor = nn.Sequential()
    method.teacher.network = nn.Sequential(AsGiven(dim))
    method.queue.rows.copy_(v["queue"])
    method.queue.column("label").copy_(v["queue_labels"])
    method.queue.position.copy_(v["queue_ptr"])


def cmsf(v: Vectors, **changes: Any) -> CMSF:
    """The method at the start of the official step, with the official forms."""
    size, dim = v["queue"].shape
    settings = CMSF.Settings(
        queue_size=size,
        embedding=dim,
        topk=v.number("topk"),
        topk_prime=v.number("topk_prime"),
        first_visit="noise",
        unwritten="last",
        **OFFICIAL,
        **changes,
    )
    method = CMSF(AsGiven(dim), settings, facts(v))  # type: ignore[arg-type]
    transparent(method, v)
    method.queue.column("image").copy_(v["queue_index"])
    return method


def stepped(method: CMSF | CMSFSemi, v: Vectors) -> tuple[Terms, Tensor]:
    """One step, and its gradient in the student's vectors."""
    student = v.leaf("student")
    terms = method.step(
        {"student": View(student), "teacher": View(v["teacher"])}, Batch(v["index"], labels=v["labels"])
    )
    terms.loss.backward()
    assert student.grad is not None
    return terms, student.grad


def same_memory(queue: Queue, v: Vectors) -> None:
    same(queue.rows, v["queue_after"])
    assert queue.column("image").equal(v["queue_index_after"])
    assert queue.column("label").equal(v["queue_labels_after"])


def check_2q(v: Vectors) -> None:
    method = cmsf(v)
    history = method.constraint.get_submodule("history")
    history.get_buffer("rows").copy_(v["pool"])
    history.get_buffer("slot").copy_(v["pool_slot"])
    terms, grad = stepped(method, v)
    same(terms.loss, v["loss_2q"])
    same(grad, v["grad_student_2q"])
    same(terms.parts["purity_unconstrained"], v["purity_2q"], 1e-6)
    same(history.get_buffer("rows"), v["pool_after"])
    assert history.get_buffer("slot").equal(v["pool_slot_after"])
    same_memory(method.queue, v)


def check_clusters(v: Vectors) -> None:
    method = cmsf(v, constraint="clusters")
    method.constraint.get_buffer("cluster").copy_(v["cluster_of_image"])
    terms, grad = stepped(method, v)
    same(terms.loss, v["loss_km"])
    same(grad, v["grad_student_km"])
    same_memory(method.queue, v)


def check_supervised(v: Vectors) -> None:
    method = cmsf(v, constraint="labels")
    terms, grad = stepped(method, v)
    same(terms.loss, v["loss_supervised"])
    same(grad, v["grad_student_supervised"])
    same(100 * terms.parts["purity"], v["purity_supervised_percent"], 1e-6)
    same_memory(method.queue, v)


def semi(v: Vectors) -> CMSFSemi:
    """The method at the start of the official step with few labels."""
    size, dim = v["queue"].shape
    settings = CMSFSemi.Settings(
        queue_size=size,
        embedding=dim,
        topk=v.number("topk"),
        head="linear",
        confidence=v.number("semi_confidence"),
        bank_size=len(v["semi_bank"]),
        **OFFICIAL,
    )
    method = CMSFSemi(AsGiven(dim), settings, facts(v))  # type: ignore[arg-type]
    transparent(method, v)
    method.queue.column("believed").copy_(v["queue_labels"])
    labeller = method.labeller
    labeller.head.load_state_dict({"0.weight": v["semi_classifier_weight"], "0.bias": v["semi_classifier_bias"]})
    labeller.usable[v["index"]] = v["semi_is_unlabelled"] == 0
    labeller.bank.rows.copy_(v["semi_bank"])
    labeller.bank.column("label").copy_(v["semi_bank_labels"])
    labeller.bank.position.copy_(v["semi_bank_ptr"])
    return method


def check_semi(v: Vectors) -> None:
    method = semi(v)
    told = method.labeller(nn.functional.normalize(v["teacher"], dim=1), v["labels"], v["index"])
    same(told.probability, v["semi_top1_probability"])
    terms, grad = stepped(method, v)
    same(terms.loss, v["loss_semi"])
    same(grad, v["grad_student_semi"])
    parts = {name: 100 * terms.parts[name] for name in ("purity", "purity_unconstrained", "pseudo_accuracy")}
    same(parts["purity"], v["semi_purity_percent"], 1e-6)
    same(parts["purity_unconstrained"], v["semi_purity_unconstrained_percent"], 1e-6)
    same(parts["pseudo_accuracy"], v["semi_pseudo_accuracy_percent"], 1e-6)


def check_semi_memories(v: Vectors) -> None:
    method = semi(v)
    stepped(method, v)
    bank = method.labeller.bank
    assert method.queue.column("believed").equal(v["semi_queue_labels_after"])
    same(method.queue.rows, v["queue_after"])
    same(bank.rows, v["semi_bank_after"])
    assert bank.column("label").equal(v["semi_bank_labels_after"])
    assert bank.position == v["semi_bank_ptr_after"]
    assert method.labeller.overflow == v["semi_bank_overflow_after"]
