"""The interface of timm's models that an `Encoder` needs: stages, a map, pooled features."""

from __future__ import annotations

from torch import Tensor, nn


class Staged(nn.Module):
    """A network for small images, cut into stages. Subclasses write `forward_stages`, and `finish` where they need it.

    C channels of the last map, F pooled features.
    """

    output_fmt = "NCHW"

    def __init__(self, *, channels: int, features: int, pool: nn.Module, num_classes: int = 0) -> None:
        """`pool` makes (B, F) of the last map; 0 classes leave out the linear classifier."""
        super().__init__()
        self.num_features = channels
        self.head_hidden_size = features
        self.num_classes = num_classes
        self.pool = pool
        self.fc = nn.Linear(features, num_classes) if num_classes else nn.Identity()

    def forward_stages(self, x_B3HW: Tensor) -> list[Tensor]:
        """The output of every stage as the next one takes it, from the first to the last: (B, C, h, w) each."""
        raise NotImplementedError(f"{type(self).__name__} has no stages")

    def finish(self, last_BCHW: Tensor) -> Tensor:
        """The layer between the last stage and pooling: nothing, or a norm."""
        return last_BCHW

    def forward_features(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w), the last map."""
        return self.finish(self.forward_stages(x_B3HW)[-1])

    def forward_intermediates(
        self, x_B3HW: Tensor, *, norm: bool = False, output_fmt: str = "NCHW"
    ) -> tuple[Tensor, list[Tensor]]:
        """The last map and the outputs of all stages; with `norm` the last of them is that map."""
        if output_fmt != self.output_fmt:
            raise ValueError(f"maps are {self.output_fmt}, not {output_fmt}")
        stages = self.forward_stages(x_B3HW)
        last = self.finish(stages[-1])
        return last, [*stages[:-1], last if norm else stages[-1]]

    def forward_head(self, last_BCHW: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map -> (B, F), or (B, classes)."""
        features_BF: Tensor = self.pool(last_BCHW)
        return features_BF if pre_logits else self.fc(features_BF)

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, F), or (B, classes)."""
        return self.forward_head(self.forward_features(x_B3HW))


def average() -> nn.Module:
    """The mean over all places: (B, C, h, w) -> (B, C)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def draw_weights(model: nn.Module) -> None:
    """He normal with fan-out for convolutions, in place; norms stay at 1 and 0."""
    for part in model.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
