"""BCT: a new encoder whose vectors the old classifier can classify, so that stored vectors stay comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from likewise.distributed import gather, gather_with_gradient
from likewise.encoders import Encoder
from likewise.encoders.neck import with_neck
from likewise.errors import InputError
from likewise.methods.method import Batch, Card, Facts, Method, Optimisation, Preset, Progress, Terms, Views
from likewise.methods.parts.checks import at_least, positive
from likewise.methods.parts.classifiers import CosineClassifier
from likewise.methods.parts.old import Form, Old, check_old, classifier_of, placed
from likewise.similarity import unit
from likewise.similarity.compatible import fitted, influence, influence_distilled
from likewise.similarity.mutual import classification
from likewise.views import weak


class BCT(Method):
    """Backward-compatible training.

    With f the new encoder, W its classifier, and V the classifier of the old encoder, frozen,

        L = CE(W f(x), y) + lambda CE(V f(x)[:d], y),   d the length of old vectors

    so that a new vector lies where the old classifier looks for its class, and among the old vectors of that class.
    Rows of V for classes that the old classifier never saw, or of all where it is not known, are the mean old vectors
    of their images (`synthesised`); or only images of classes it knows count (`shared`); or its opinion of the old
    vector of the same view is the target (`distilled`). Classifiers are linear, or cosines times a scale.

    The encoder that is kept gives vectors of the old length: by a layer behind the pooled features, or cut to the first
    d of them, as published. Without `old` it is trained by its classifier alone: so the first encoder of a chain is.

        likewise train photos/ --labels folders --method bct --out runs/first
        likewise train photos/ --labels folders --method bct --old runs/first --encoder resnet50 --out runs/second

    Shen, Xiong, Xia, Soatto: Towards Backward-Compatible Representation Learning, CVPR 2020, arXiv 2003.11942, eq. 5.
    """

    card: ClassVar[Card] = Card(
        title="Backward-compatible training (BCT)",
        paper="Shen, Xiong, Xia, Soatto. Towards Backward-Compatible Representation Learning. CVPR 2020, "
        "arXiv 2003.11942",
        summary="With labels: to change an encoder while the vectors of the old one stay in use.",
        needs=("labels", "old encoder"),
    )

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """Settings of BCT. The defaults are those of the small preset."""

        old: str = ""
        """The old encoder: a run directory, a .safetensors file, an index (photos.index) whose vectors it made, a timm
        model with published weights, or a table of its vectors by image (.npz, .parquet). Empty trains the classifier
        alone."""
        classes: Literal["synthesised", "shared", "distilled"] = "synthesised"
        """What old rows stand for classes that the old classifier does not know: mean old vectors; none; and for all
        classes, its opinion of the old vector instead of the label."""
        classifier: Literal["old", "linear", "cosine"] = "old"
        """Form of both classifiers; `old` is that of the old one, and cosine where it has none."""
        scale: float = 16.0
        """s: factor on the cosines."""
        weight: float = 1.0
        """lambda: weight of the old classifier's loss."""
        cut: bool = False
        """Vectors are the first d pooled features, with the classifier on all of them; else a layer makes d of them."""
        embedding: int = 128
        """Length of the vectors where there is no old encoder; 0 keeps the pooled features."""
        crop_scale: tuple[float, float] = (0.2, 1.0)
        """Smallest and largest share of the image that a crop covers."""

        def __post_init__(self) -> None:
            check_old(self.old)
            positive("scale", self.scale)
            at_least("weight", self.weight, 0.0)
            at_least("embedding", self.embedding, 0)

        def idle(self) -> dict[str, str]:
            """What concerns an old encoder that is not there, or its absence; and the scale of linear classifiers."""
            result = {"scale": "classifier=cosine"} if self.classifier == "linear" else {}
            if self.old:
                return result | {"embedding": "an empty old"}
            return result | dict.fromkeys(("classes", "weight", "cut"), "old")

    needs_refresh = True
    rows: Tensor
    biases: Tensor
    known: Tensor

    def __init__(self, encoder: Encoder, settings: Settings, facts: Facts) -> None:
        super().__init__()
        if facts.classes < 2:
            raise InputError("bct needs labels of two classes or more: name their column with --labels")
        self.settings, self.classes = settings, facts.classes
        self.old = Old(settings.old, facts) if settings.old else None
        length = self.old.dim if self.old else settings.embedding or encoder.features
        self.cut = settings.cut and self.old is not None
        self.student = encoder if self.cut else with_neck(encoder, length)
        known = classifier_of(settings.old)
        self.form = form_of(settings.classifier, None if known is None else known.form)
        inputs = self.student.features
        self.classifier = (
            nn.Linear(inputs, facts.classes)
            if self.form == "linear"
            else CosineClassifier(inputs, facts.classes, settings.scale)
        )
        rows_CD, biases_C = torch.zeros(facts.classes, length), torch.zeros(facts.classes)
        known_C = torch.zeros(facts.classes, dtype=torch.bool)
        if known is not None:
            rows_CD, biases_C, known_C = placed(known, facts)
            if rows_CD.shape[1] != length:
                raise InputError(
                    f"old={settings.old!r}: its classifier takes {rows_CD.shape[1]} dimensions of {length}"
                )
        self.register_buffer("rows", rows_CD, persistent=False)
        self.register_buffer("biases", biases_C, persistent=False)
        self.register_buffer("known", known_C, persistent=False)
        if self.old and settings.classes == "shared" and not bool(known_C.any()):
            raise InputError(
                f"old={settings.old!r} has no classifier that knows a class of this data: take classes=synthesised"
            )
        self.labels: Tensor | None = None
        self.views = {"view": weak(facts.image_size, scale=settings.crop_scale)}

    # The old encoder -------------------------------------------------------------------------------------------------

    def refresh_due(self, epoch: int) -> bool:
        """Old vectors are computed once."""
        return self.refresh_lost()

    def refresh_lost(self) -> bool:
        """Mean old vectors, and old vectors that were given, are not in checkpoints: they can be made again."""
        if self.old is None or self.old.full():
            return False
        distilled = self.settings.classes == "distilled"
        return self._lacks_rows() or (distilled and self.old.given is not None)

    def _lacks_rows(self) -> bool:
        """Whether there is a class without a row that is to have one."""
        return self.settings.classes != "shared" and not bool(self.known.all())

    def know(self, names: Sequence[str], labels_N: Tensor | None) -> None:
        """Names and labels, for the old vectors of `refresh`."""
        self.names, self.labels = names, labels_N

    def refresh_with(self) -> nn.Module | None:
        """The old encoder, unless its vectors were given."""
        assert self.old is not None
        return self.old.look_with()

    def refresh(self, features_ND: Tensor, progress: Progress) -> None:
        """Give the classes that the old classifier does not know their mean old vectors as rows."""
        assert self.old is not None
        assert self.labels is not None
        self.old.fill(features_ND, self.names)
        if not self._lacks_rows():
            return
        rows_CD, there_C = self.old.means(self.labels, self.classes)
        self.rows = torch.where(self.known.unsqueeze(1), self.rows, rows_CD.to(self.rows))
        self.known = self.known | there_C

    # Training --------------------------------------------------------------------------------------------------------

    def step(self, views: Views, batch: Batch) -> Terms:
        """Both classifiers are applied to the new vectors; the old one is not trained."""
        image, local_B = views["view"].image, cast("Tensor", batch.labels)
        x_BD = self.student(image)
        x_ND, labels_N = gather_with_gradient(x_BD), gather(local_B)
        scores_NC = self.classifier(x_ND)
        new = classification(scores_NC, labels_N)
        parts = {"classification": new.detach(), "accuracy": (scores_NC.argmax(1) == labels_N).float().mean()}
        if self.old is None:
            return Terms(new, parts, x_BD.detach())
        old = self._influence(x_ND, labels_N, image, gather(batch.ids))
        return Terms(new + self.settings.weight * old, {**parts, "influence": old.detach()}, x_BD.detach())

    def _influence(self, x_ND: Tensor, labels_N: Tensor, image: Tensor, index_N: Tensor) -> Tensor:
        """The loss by the old classifier, over the classes that it has a row for."""
        assert self.old is not None
        rows_CD, biases_C = self.rows[self.known], self.biases[self.known]
        x_ND = fitted(x_ND, rows_CD.shape[1])
        bias_C: Tensor | None = biases_C
        if self.form == "cosine":  # s cos(x, row) as a linear layer
            x_ND, rows_CD, bias_C = self.settings.scale * unit(x_ND), unit(rows_CD), None
        if self.settings.classes != "distilled":
            place_C = torch.where(self.known, self.known.cumsum(0) - 1, -1)
            return influence(x_ND, rows_CD, bias_C, torch.where(labels_N >= 0, place_C[labels_N.clamp_min(0)], -1))
        if self.old.given is None:
            old_ND = gather(self.old.network(image))
        else:
            there_N = self.old.has(index_N)
            old_ND, x_ND = self.old(index_N[there_N]), x_ND[there_N]
            if not len(old_ND):
                return 0.0 * x_ND.sum()
        if self.form == "cosine":
            old_ND = self.settings.scale * unit(old_ND)
        return influence_distilled(x_ND, old_ND, rows_CD, bias_C)

    def encoders(self) -> dict[str, nn.Module]:
        """The encoder whose vectors have the length of old ones."""
        return {"student": with_neck(self.student, self.rows.shape[1], "cut") if self.cut else self.student}

    _published: ClassVar = Optimisation(
        learning_rate=0.1, weight_decay=1e-4, schedule="step", milestones=(1 / 3, 2 / 3), step_factor=0.1, epochs=90
    )

    presets: ClassVar = {
        "small": Preset(
            settings=Settings(),
            optimisation=Optimisation(learning_rate=0.1, weight_decay=5e-4, epochs=20),
            note="narrow encoders, images up to 64 px",
        ),
        "imagenet": Preset(
            settings=Settings(classes="shared", classifier="linear", cut=True, embedding=0, crop_scale=(0.08, 1.0)),
            optimisation=_published,
            note="the published code's recipe, ImageNet, ResNet-18 to ResNet-50",
        ),
        "imagenet_cosine": Preset(
            settings=Settings(classes="shared", classifier="cosine", cut=True, embedding=0, crop_scale=(0.08, 1.0)),
            optimisation=replace(_published),
            note="the same with normalised classifiers; their scale is not known for sure",
        ),
    }


def form_of(asked: Literal["old", "linear", "cosine"], old: Form | None) -> Form:
    """The form of both classifiers. Raises InputError where the one asked for is not the old classifier's.

    Rows that were trained on vectors as they are say little of their directions alone, and the other way round.
    """
    if asked == "old":
        return old or "cosine"
    if old is not None and old != asked:
        raise InputError(f"classifier={asked}: the old encoder's classifier is {old}, allowed are {old} and old")
    return asked
