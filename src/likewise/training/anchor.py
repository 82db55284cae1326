"""Training that stays near its initial encoder, or an older one, so that vectors stored before stay comparable.

Shapes: B images in a batch, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from likewise.data import LoadedBatch
from likewise.encoders import Encoder
from likewise.encoders.embedding import evaluating, view_of
from likewise.errors import InputError
from likewise.methods.method import Method, Terms
from likewise.similarity import pull, unit
from likewise.teachers import Teacher
from likewise.views import make_views


class Anchor:
    """Adds to the loss L of any method how far the embedding of each image has moved from where it was.

    With f the encoder that is trained, f_0 its frozen copy from before the first step, u(.) unit length, and x_i an
    image as it is embedded later (its centre, not augmented, in eval mode; for f_0 at the size of its own input),

        A  = mean_i | u(f(x_i)) - u(f_0(x_i)) |^2        and        L' = (L + W A) / (1 + W).

    W = 0 is the method alone. The division keeps the size of the gradient, so that a learning rate suits any W; at
    W -> inf what is left is A, whose minimum is where the encoder began. Running statistics of batch norm, which no
    gradient moves, take a share 1 / (1 + W) of their usual steps. f_0(x_i) is computed once for each image and looked
    up. With `--compatible-with` f_0 is an older encoder, of any architecture, whose vectors are in use, and f may begin
    anywhere: any method then learns a space that the old vectors can be searched in. This is ours and of no paper; it
    is one term of any method, which knows nothing of it.
    """

    def __init__(self, weight: float, method: Method, known: Teacher, *, near_start: bool = True) -> None:
        """`known` is the frozen copy with the vectors of all images (`Teacher.fill`), or another, older encoder.

        With `near_start` False the encoder need not stay where it began, so batch norm keeps its usual steps.
        Raises InputError as `anchored_part` does.
        """
        self.weight, self.student, self.known = weight, anchored_part(method), known
        self.view = view_of(self.student.spec)
        encoders = [part for part in method.modules() if isinstance(part, Encoder)]
        slowed = 1.0 + weight if near_start else 1.0
        for norm in {part for encoder in encoders for part in encoder.modules() if isinstance(part, _BatchNorm)}:
            if norm.momentum is not None:
                norm.momentum /= slowed

    def added(self, terms: Terms, loaded: LoadedBatch, autocast: Callable[[], AbstractContextManager[object]]) -> Terms:
        """The terms of a step with the anchor's: L' as the loss, and A among the parts."""
        shown = make_views({"centre": self.view}, loaded.pixels, loaded.sizes, seed=0, step=0)["centre"].image
        with evaluating(self.student), autocast():
            moved_BF = self.student(shown)
        apart = self.distance(moved_BF, loaded.ids)
        loss = (terms.loss + self.weight * apart) / (1.0 + self.weight)
        return terms._replace(loss=loss, parts={**terms.parts, "anchor": apart.detach()})

    def distance(self, moved_BF: Tensor, index_B: Tensor) -> Tensor:
        """A, the mean squared distance of unit vectors from those of the frozen copy."""
        return pull(moved_BF.float(), unit(self.known.look_up(index_B)))


def anchored_part(method: Method) -> Encoder:
    """The encoder of a method that its anchor holds: the one that learns by gradient.

    Raises InputError for a method that makes another one of it for its users.
    """
    student = method.encoders()["student"]
    if not isinstance(student, Encoder) or all(student is not part for part in method.modules()):
        raise InputError(
            f"{method.card.title} hands on another form of its encoder, so an anchor does not hold it: leave --anchor "
            "out, or choose a method such as simclr"
        )
    return student
