"""The result of decoding: pixels, or the reason of the failure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likewise.errors import LikewiseError

Pixels = NDArray[np.uint8]
"""One decoded image, (H, W, 3) uint8 RGB."""


class BrokenImage(LikewiseError):
    """One image cannot be read. Its text gives the reason in one line, for people.

    `passing` reasons are not the image's: a file that the system does not give, a package that is not installed. Such
    images are tried again (`likewise.data.prepare`).
    """

    def __init__(self, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.passing = passing

    @property
    def reason(self) -> str:
        """The line."""
        return str(self)
