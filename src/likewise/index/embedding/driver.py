"""The process that talks to a Ray cluster for `on_ray.Cluster`.

It reads an `Asked` from the standard input, and writes `Joined`, `Looked` for each batch and `Ended` to the standard
output, pickled.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import socket
import sys
from typing import IO, Any

from likewise.index.embedding.on_ray import Asked, Ended, Joined, looked_at

_ANSWER_SECONDS = 10.0


def main() -> None:
    """Do what is asked on the standard input, in a cluster that is joined for it."""
    import ray
    import ray.data

    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may print among the answers
        asked: Asked = pickle.load(sys.stdin.buffer)  # noqa: S301  # from the process that started this one
        if not _joined(asked.cluster.address):
            return
        try:
            _say(out, Joined())
            for looked in looked_at(ray, asked):
                _say(out, looked)
            _say(out, Ended(None))
        except BrokenPipeError:
            return  # nobody listens any more
        except Exception as error:  # noqa: BLE001  # of Ray, of the data, of the encoder: said by who asked
            _say(out, Ended(f"the Ray cluster could not look at the images ({_line(error)})"))
        finally:
            ray.shutdown()


def _joined(address: str) -> bool:
    """Join the cluster at an address; whether there is one."""
    import ray

    named = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    place = re.fullmatch(r"\[?(?P<host>[^/]+?)\]?:(?P<port>\d+)", named)
    try:
        if place is not None:  # Ray itself would try again for minutes
            socket.create_connection((place["host"], int(place["port"])), _ANSWER_SECONDS).close()
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=False if address == "local" else None,
        )
    except (OSError, OverflowError, ValueError, RuntimeError):
        return False
    return True


def _say(out: IO[bytes], words: Any) -> None:
    pickle.dump(words, out)
    out.flush()


def _line(error: Exception) -> str:
    """The last line of what Ray says of an error on a worker, which is the error itself."""
    lines = str(error).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), type(error).__name__)[:200]


if __name__ == "__main__":
    main()
