"""Names (fingerprints) of weights in memory."""

from __future__ import annotations

from likewise.data.fingerprints import digest, digest_array
from likewise.encoders import Encoder


def weights_of(encoder: Encoder) -> str:
    """Hexadecimal digest of every value of an encoder's weights and of what it is; not of how its input is prepared."""
    state = encoder.weights()
    values = (digest_array(state[name].detach().cpu().contiguous().view(-1).numpy()) for name in sorted(state))
    spec = encoder.spec
    return digest(spec.name, spec.width, spec.stem, *sorted(state), *values)
