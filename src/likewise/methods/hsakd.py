"""HSAKD: distillation at every stage of a distribution over the joint classes of label and rotation."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from likewise.classifier import load_classifier
from likewise.encoders import Encoder, build
from likewise.encoders.own.branches import branches, maps
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Terms, Views
from likewise.methods.parts.checks import positive
from likewise.methods.whole import restore
from likewise.runs import RunDirectory
from likewise.similarity.labelled.rotations import joint_labels, rotated
from likewise.similarity.mutual import classification, imitation
from likewise.teachers import Frozen, Refit
from likewise.views import padded

Role = Literal["student", "teacher", "frozen_teacher", "online"]


class Outputs(NamedTuple):
    """Output of a network for the 4 B rotated copies of B images."""

    classes: Tensor
    """(4 B, C) logits of the class."""
    joint: Tensor
    """(L, 4 B, 4 C) logits of class and rotation of each branch."""
    features: Tensor
    """(4 B, F)."""


class Joint(nn.Module):
    """An encoder with a classifier, and a branch at each stage that says class and rotation.

    With `frozen`, encoder and classifier stay as they are, in eval mode, and the branches learn from their maps.
    Without `branched` there are no branches, and what it says of joint labels is of length 0.
    """

    def __init__(self, encoder: Encoder, classes: int, *, frozen: bool = False, branched: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.features, classes)
        self.branches = branches(encoder, 4 * classes) if branched else None
        self.frozen = frozen
        if frozen:
            encoder.requires_grad_(False)
            self.classifier.requires_grad_(False)

    def train(self, mode: bool = True) -> Joint:
        """Follow `mode`, but for an encoder that is frozen."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x_N3HH: Tensor) -> Outputs:
        """(N, 3, H, H) -> logits and features."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features_NF, stages = maps(self.encoder, x_N3HH)
            classes_NC = self.classifier(features_NF)
        joint = classes_NC.new_zeros(0, *classes_NC.shape) if self.branches is None else self.branches(stages)
        return Outputs(classes_NC, joint, features_NF)


class Shown(nn.Module):
    """A trained network that is shown views made for another encoder."""

    def __init__(self, network: Joint, facts: Facts) -> None:
        super().__init__()
        self.refit = Refit(network.encoder, image_size=facts.image_size, mean=facts.mean, std=facts.std)
        self.network = network

    def forward(self, x_N3HH: Tensor) -> Outputs:
        """As `Joint`."""
        return cast("Outputs", self.network(self.refit(x_N3HH)))


def joint_training(outputs: Outputs, labels_B: Tensor) -> Tensor:
    """CE of the class of upright images, and CE of the joint label in each branch, summed (eq. 3).

    L_T = CE(p[0::4], y) + sum_l CE(q_l, 4 y + rotation), each a mean over the rows whose label is known.
    """
    joint_N = joint_labels(labels_B)
    branch = torch.stack([classification(logits_NK, joint_N) for logits_NK in outputs.joint])
    return classification(outputs.classes[::4], labels_B) + branch.sum()


def handed_on(student: Outputs, teacher: Outputs, temperature: float) -> tuple[Tensor, Tensor]:
    """KL to the teacher's joint distributions, summed over branches, and to its classes; over all rotations (eq. 5-6).

    Each is T^2 KL(softmax(teacher/T) || softmax(student/T)), mean over rows, without gradient to the teacher.
    """
    pairs = zip(student.joint, teacher.joint, strict=True)
    joint = torch.stack([imitation(ours_NK, theirs_NK, temperature) for ours_NK, theirs_NK in pairs]).sum()
    return joint, imitation(student.classes, teacher.classes, temperature)


class HSAKD(Method):
    """Hierarchical self-supervised augmented knowledge distillation.

    Each labelled image y is shown upright and turned by 90, 180 and 270 degrees. A branch behind each stage of teacher
    and student says class and rotation together (4 C of them), the classifier says the class. With p and q_l the
    logits of classifier and branch l, the student learns

        L_S = CE(p_S, y on upright images) + sum_l KD(q_l,S ; q_l,T) + KD(p_S ; p_T),
        KD(a ; b) = T^2 mean KL( softmax(b / T) || softmax(a / T) ),

    and its branches see no label. `role` says what is trained:

    - `teacher`: L_T = CE(p, y) + sum_l CE(q_l, 4 y + rotation), everything (the paper's joint form, marked *);
    - `frozen_teacher`: the same for the branches of a classifier that `likewise finetune` made, which stays as it is;
    - `student`: L_S from the run of a teacher (`distil` leaves out the branches, or the teacher, to compare with);
    - `online` (HSSAKD, the journal version): two networks learn L_T and each also what the other says.

        likewise train photos/ --method hsakd --role teacher --encoder wrn40_2 --out runs/big
        likewise train photos/ --method hsakd --teacher runs/big --encoder wrn16_2 --out runs/small

    The branches are thrown away. Where rotation makes one class of another (6 and 9), the joint label is partly noise.

    Yang, An, Cai, Xu: HSAKD, IJCAI 2021, arXiv 2107.13715, section 3.
    """

    card: ClassVar[Card] = Card(
        title="Hierarchical self-supervised augmented distillation (HSAKD)",
        paper="Yang, An, Cai, Xu. Hierarchical Self-supervised Augmented Knowledge Distillation. IJCAI 2021, arXiv "
        "2107.13715",
        summary="To compress a classifier where labels exist: a pretext task enriches the teacher's output.",
        needs=("labels", "frozen teacher"),
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of HSAKD. The defaults are those of the small preset."""

        role: Role = "student"
        """What is trained: student, teacher, frozen_teacher (branches of a fine-tuned run) or online."""
        teacher: str = ""
        """For a student the run of a teacher by this method; for frozen_teacher a run of `likewise finetune`."""
        distil: Literal["both", "class", "none"] = "both"
        """What a student takes from its teacher. both: joint labels of all branches and classes, over all rotations.
        class: the classes of upright images alone, plain distillation. none: nothing, it learns from labels alone."""
        temperature: float = 3.0
        """T: divides all logits that are compared between networks."""
        pad: int = 4
        """Pixels of 32 that an image is shifted by at most in each direction; in proportion for other sides."""

        def __post_init__(self) -> None:
            positive("temperature", self.temperature)
            if not 1 <= self.pad <= 16:
                raise InputError(f"pad={self.pad} is out of range: allowed is 1 to 16 pixels of 32")
            if self.teacher:
                _check_teacher(self.teacher, self.role)

        def idle(self) -> dict[str, str]:
            """What a network that learns from labels alone does not use."""
            if self.role in {"teacher", "frozen_teacher"}:
                unused = dict.fromkeys(("temperature", "distil"), "role=student")
                return unused | ({"teacher": "role=student"} if self.role == "teacher" else {})
            if self.role == "online":
                return dict.fromkeys(("teacher", "distil"), "role=student")
            return dict.fromkeys(("teacher", "temperature"), "distil=both or class") if self.distil == "none" else {}

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.classes < 2:
            raise InputError("hsakd needs labels of two classes or more: name their column with --labels")
        self.settings, self.class_names = settings, facts.class_names
        self.upright = settings.role == "student" and settings.distil != "both"
        """Whether images are shown upright alone."""
        frozen = settings.role == "frozen_teacher"
        self.student = Joint(encoder, facts.classes, frozen=frozen, branched=not self.upright)
        if settings.role == "frozen_teacher":
            _take(self.student, settings.teacher, facts.class_names)
        elif settings.role == "student" and settings.distil != "none":
            self.frozen = Frozen(Shown(_trained(settings.teacher, self.student, facts.class_names), facts))
        elif settings.role == "online":
            seed = int(torch.randint(2**31, (1,)))
            other = build(dataclasses.replace(encoder.spec, pretrained=False), seed=seed)
            self.peer = Joint(other, facts.classes)
        side = facts.image_size
        pad = max(1, round(settings.pad * side / 32))
        self.views = {"image": padded(side, pad=pad, fill="zero")}

    def step(self, views: Views, batch: Batch) -> Terms:
        """The loss of the role, on four rotated copies of each image, or on the image alone."""
        image, labels_B = views["image"].image, cast("Tensor", batch.labels)
        copies, each = (image, 1) if self.upright else (rotated(image), 4)
        result = cast("Outputs", self.student(copies))
        upright_B = result.classes[::each].detach().argmax(1)
        parts = {"accuracy": (upright_B == labels_B).float().mean()}
        if self.settings.role == "student":
            handed = self._handed(result, copies)
            loss = classification(result.classes[::each], labels_B) + sum(handed.values())
            parts |= {name: term.detach() for name, term in handed.items()}
        else:
            loss = joint_training(result, labels_B)
        if self.settings.role == "online":
            other = cast("Outputs", self.peer(copies))
            mutual = [*handed_on(result, other, self.settings.temperature)]
            mutual += handed_on(other, result, self.settings.temperature)
            loss = loss + joint_training(other, labels_B) + torch.stack(mutual).sum()
        return Terms(loss, parts, result.features[::each].detach())

    def _handed(self, outputs: Outputs, copies: Tensor) -> dict[str, Tensor]:
        """What a student is to imitate of its teacher, by name."""
        settings = self.settings
        if settings.distil == "none":
            return {}
        theirs = cast("Outputs", self.frozen(copies))
        if settings.distil == "class":
            return {"distill_class": imitation(outputs.classes, theirs.classes, settings.temperature)}
        joint, classes = handed_on(outputs, theirs, settings.temperature)
        return {"distill_joint": joint, "distill_class": classes}

    def logits(self, image: Tensor) -> Tensor:
        """(B, C) of upright images (B, 3, H, H), without the branches."""
        found: Tensor = self.student.classifier(self.student.encoder(image))
        return found

    def encoders(self) -> dict[str, nn.Module]:
        """The encoder without classifier and branches."""
        return {"student": self.student.encoder}

    _long: ClassVar = Optimisation(
        learning_rate=0.05,
        weight_decay=5e-4,
        nesterov=True,
        schedule="step",
        milestones=(150 / 240, 180 / 240, 210 / 240),
        step_factor=0.1,
        batch_size=64,
        epochs=240,
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=replace(_long, milestones=(0.6, 0.8), epochs=20),
            note="small images in few epochs",
        ),
        "cifar": Preset(
            settings=Settings(),
            optimisation=_long,
            note="the published recipe, CIFAR-100, wide ResNets",
            normalisation="cifar100",
        ),
    }


def _check_teacher(teacher: str, role: Role) -> None:
    """Raise InputError where a run cannot be the teacher of this role, by its run.json alone."""
    path = Path(teacher).expanduser()
    if role == "frozen_teacher":
        if not (path / "classifier.safetensors").is_file():
            raise InputError(
                f"teacher={teacher!r} has no classifier for role=frozen_teacher: name a run of likewise finetune"
            )
        return
    try:
        method = json.loads((path / "run.json").read_text(encoding="utf-8")).get("method")
    except (OSError, ValueError):
        method = None
    if method != "hsakd":
        what = f"a run of {method}" if method else "no run"
        raise InputError(
            f"teacher={teacher!r} is {what}, and a classifier with branches is needed: train one with --method hsakd "
            "--role teacher, and name its run"
        )


def _check_classes(teacher: str, known: Sequence[str], own: Sequence[str]) -> None:
    """Raise InputError where the classes of teacher and data have names that are not the same, in the same order."""
    if known and own and tuple(known) != tuple(own):
        at = next(number for number, pair in enumerate(zip_longest(known, own)) if pair[0] != pair[1])
        theirs, ours = (names[at] if at < len(names) else None for names in (known, own))
        raise InputError(
            f"teacher={teacher!r} knows other classes than the data has, or in another order: its class {at} is "
            f"{theirs!r}, and that of the data {ours!r}"
        )


def _trained(teacher: str, student: Joint, class_names: Sequence[str]) -> Joint:
    """The network of a teacher's run. Raises InputError where it does not fit the student or its classes."""
    if not teacher:
        raise InputError(
            "hsakd needs a teacher: train one with --role teacher, and name its run with --teacher; or --role online"
        )
    method = cast("HSAKD", restore(teacher))
    network = method.student
    classes, own = network.classifier.out_features, student.classifier.out_features
    if classes != own:
        raise InputError(f"teacher={teacher!r} knows {classes} classes, and the data has {own}")
    _check_classes(teacher, method.class_names, class_names)
    ours, theirs = student.branches, network.branches
    if theirs is None:
        raise InputError(f"teacher={teacher!r} is a student without branches: train a teacher with --role teacher")
    if ours is not None and len(theirs) != len(ours):
        raise InputError(
            f"teacher={teacher!r} has {len(theirs)} stages and the student {len(ours)}: take an "
            f"encoder of the same family, such as {network.encoder.spec.name}"
        )
    return network


def _take(network: Joint, teacher: str, class_names: Sequence[str]) -> None:
    """Fill encoder and classifier from a fine-tuned run, in place. Raises InputError where they do not fit."""
    if not teacher:
        raise InputError("role=frozen_teacher keeps a classifier: name a run of likewise finetune with --teacher")
    known = load_classifier(RunDirectory.open(teacher).path)
    ours, theirs = network.encoder.backbone.state_dict(), known.encoder.backbone.state_dict()
    odd = [key for key in ours if key not in theirs or ours[key].shape != theirs[key].shape]
    if odd or known.layer.out_features != network.classifier.out_features:
        spec = known.encoder.spec
        raise InputError(
            f"teacher={teacher!r} is a {spec.name} of width {spec.width} for {known.layer.out_features} classes: train "
            f"with --encoder {spec.name} --width {spec.width} on data of these classes"
        )
    _check_classes(teacher, known.class_names, class_names)
    network.encoder.backbone.load_state_dict(theirs)
    network.classifier.load_state_dict(known.layer.state_dict())
