"""The arguments of every probe: features with labels, and the user's settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.errors import InputError, unknown
from likewise.evaluation import intervals
from likewise.evaluation.scores import CLASS_MEAN, Score

GALLERIES = ("queries", "bank")


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """The settings of the probes; the defaults are the published protocols."""

    k: tuple[int, ...] = ()
    """Neighbours for knn, each as a majority and as a weighted vote; by default a majority of 1 and of 20, and a
    weighted vote of 200. For purity and retrieval too, by default 10, and 1, 5 and 10."""
    temperature: float = 0.1
    """Of the weighted vote: exp(similarity / temperature)."""
    ways: int = 5
    """Classes in an episode of few-shot learning."""
    shots: tuple[int, ...] = (1, 5)
    """Labelled images of each class in an episode."""
    episodes: int = 600
    """Episodes of few-shot learning."""
    episode_features: Literal["unit", "raw"] = "unit"
    """Whether few-shot episodes see features of unit length, or as they are, as in UML and dynamic distillation; class
    means of raw features are compared by the inner product with the mean at unit length."""
    label_shares: tuple[float, ...] = (0.01, 0.1)
    """Shares of the labels that `labels` and `finetune-labels` learn from."""
    labels_per_class: tuple[int, ...] = ()
    """Numbers of labels of each class that `labels` and `finetune-labels` learn from, instead of shares."""
    clusters: int = 0
    """Clusters of the clustering probe; 0: as many as there are classes."""
    gallery: Literal["queries", "bank"] = "queries"
    """What retrieval searches: the other queries (each leaves itself out), or the bank."""
    finetune_epochs: int | None = None
    """Passes over the labelled images when the encoder is fine-tuned; by default 20, and at least 200 updates."""
    finetune_rate: float = 0.01
    """Peak learning rate of the encoder when it is fine-tuned, at batch 128."""
    templates: tuple[str, ...] = ("{}",)
    """What zeroshot reads for each class, {} being its name, such as `a photo of a {}`; the mean of several."""

    def __post_init__(self) -> None:
        for name in ("ways", "episodes", "finetune_epochs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value} must be at least 1")
        for name in ("k", "shots", "labels_per_class"):
            if any(value < 1 for value in getattr(self, name)):
                raise InputError(f"{name}={min(getattr(self, name))} must be at least 1")
        if any(not 0 < share <= 1 for share in self.label_shares):
            raise InputError(f"label_shares={self.label_shares} must be above 0 and at most 1, such as 0.01 for 1 %")
        if not self.temperature > 0 or not self.finetune_rate > 0:
            raise InputError("temperature and finetune_rate must be greater than 0; usual are 0.1 and 0.01")
        if self.ways < 2:
            raise InputError(f"ways={self.ways}: an episode needs at least 2 classes, usual is 5")
        for name, value, allowed in (
            ("gallery", self.gallery, GALLERIES),
            ("episode_features", self.episode_features, ("unit", "raw")),
        ):
            if value not in allowed:
                raise unknown(name, value, allowed)
        if not self.templates or any("{}" not in template for template in self.templates):
            raise InputError(f"templates={self.templates}: each needs {{}} for the name, such as 'a photo of a {{}}'")


@dataclass(frozen=True)
class Features:
    """The input of a probe."""

    bank_NF: Tensor
    """Features with known labels."""
    bank_labels_N: Tensor
    """(N,) int64."""
    query_QF: Tensor
    """Features to be classified."""
    query_labels_Q: Tensor
    """(Q,) int64, the right answers."""
    split: str
    """As in `Score.split`."""
    which: str
    """As in `Score.which`."""
    protocol: str
    """How the features were made and which images they are of."""
    seed: int
    """What random choices follow from."""
    class_names: Sequence[str] | None = None
    """Name of each class, where the data has them."""
    trained_C: NDArray[np.int64] | None = None
    """Images of each class that the encoder was trained on, where that was a skewed draw; else the bank's count."""
    groups: Mapping[str, Sequence[int]] | None = None
    """Classes by the group that the draw put them into; else many-, medium- and few-shot classes."""
    per_class: bool | None = None
    """Whether to give figures by class; None: where classes are of very different frequency."""
    class_mean: bool = False
    """Whether the value is the mean over classes of their accuracies, as the field does it for this data."""
    query_cameras_Q: Tensor | None = None
    """(Q,) camera, or other source, of each query; for retrieval."""
    bank_cameras_N: Tensor | None = None
    """The same of the bank."""

    @property
    def frequency(self) -> NDArray[np.int64]:
        """(C,) images of each class to learn from."""
        if self.trained_C is not None:
            return self.trained_C
        return np.bincount(self.bank_labels_N.cpu().numpy())

    def score(self, name: str, k: int | None, predicted_Q: Tensor, protocol: str, *, variant: str = "") -> Score:
        """The share of right predictions, with interval, protocol and, where classes are skewed, figures by class."""
        predicted, truth = predicted_Q.cpu().numpy(), self.query_labels_Q.cpu().numpy()
        right, frequency = int((predicted == truth).sum()), self.frequency
        value, measure, interval = right / len(truth), "accuracy", intervals.wilson(right, len(truth))
        per_class, counts = intervals.by_class(predicted, truth, frequency, self.class_names)
        if self.class_mean:
            value, measure = float(np.mean([entry.value for entry in per_class])), CLASS_MEAN
            interval = intervals.of_class_mean(*counts)
        wanted = intervals.is_skewed(frequency) if self.per_class is None else self.per_class
        groups = intervals.by_group(*counts, self.groups or intervals.usual_groups(frequency))
        return replace(
            self.measured(name, k, value, protocol, measure=measure, variant=variant),
            low=interval.low,
            high=interval.high,
            interval=interval.how,
            per_class=per_class if wanted else None,
            groups=groups if wanted else None,
            predicted=predicted,
        )

    def measured(
        self,
        name: str,
        k: int | None,
        value: float,
        protocol: str,
        *,
        measure: str = "accuracy",
        variant: str = "",
        unit: Literal["share", "number"] = "share",
        interval: intervals.Interval | None = None,
    ) -> Score:
        """A number that is not a share of right predictions, with its protocol."""
        return Score(
            name=name,
            k=k,
            value=value,
            protocol=f"{protocol}; {self.protocol}",
            split=self.split,
            n=len(self.query_labels_Q),
            which=self.which,
            measure=measure,
            variant=variant,
            unit=unit,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            interval=interval.how if interval else "",
        )


def on(device: torch.device, features: Features) -> Features:
    """The same with all tensors on `device`."""
    moved: dict[str, Any] = {
        name: value.to(device) for name, value in vars(features).items() if isinstance(value, Tensor)
    }
    return replace(features, **moved)
