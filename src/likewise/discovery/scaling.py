"""Features scaled by the spread of images within the labelled classes.

What differs among images of one named class (light, place, pose) tells little of which class another image is of, and
is made small. Shapes: N images, D dimensions, C components, L labelled images.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.similarity import unit

COMPONENTS = 128
"""Principal components that are kept."""


def components(features_ND: Tensor, most: int) -> Tensor:
    """(N, at most `most`) the first principal components; the features where they are no more than that."""
    if min(features_ND.shape) <= most:
        return features_ND
    centred_ND = features_ND - features_ND.mean(0)
    _, vectors_DD = torch.linalg.eigh(centred_ND.T @ centred_ND)
    found_NC: Tensor = centred_ND @ vectors_DD[:, -most:]
    return found_NC


def scaled(features_ND: Tensor, labels_N: NDArray[np.int64]) -> Tensor:
    """(N, C) unit vectors: the principal components, multiplied so that labelled classes (-1: none) are round.

    The covariance within classes is shrunk towards a multiple of the identity by as much as its error demands (Ledoit
    and Wolf, J. Multivariate Analysis 88, 2004), so that few labels change little. Where no class has two labelled
    images the components are left as they are.
    """
    from sklearn.covariance import ledoit_wolf

    found_NC = components(features_ND - features_ND.mean(0), COMPONENTS)
    known_L = torch.from_numpy(np.flatnonzero(labels_N >= 0))
    classes, own_L = torch.unique(torch.from_numpy(labels_N)[known_L], return_inverse=True)
    degrees = len(known_L) - len(classes)
    if degrees > 0:
        labelled_LC = found_NC[known_L]
        means_KC = labelled_LC.new_zeros(len(classes), found_NC.shape[1]).index_add_(0, own_L, labelled_LC)
        means_KC /= own_L.bincount().unsqueeze(1)
        within_LC = (labelled_LC - means_KC[own_L]) * (len(known_L) / degrees) ** 0.5
        shrunk_CC, _ = ledoit_wolf(within_LC.double().numpy(), assume_centered=True)
        values_C, vectors_CC = torch.linalg.eigh(torch.from_numpy(shrunk_CC))
        if bool(values_C[-1] > 0):  # copies of one image for each class have no spread
            least = values_C[-1] * torch.finfo(torch.float32).eps
            scale_CC = (vectors_CC * values_C.clamp_min(least).rsqrt()) @ vectors_CC.T
            found_NC = found_NC @ scale_CC.to(found_NC)
    return unit(found_NC)
