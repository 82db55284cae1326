"""The command line: one module per verb, in the package of its heading in `HELP`.

Nothing heavy is imported until a verb needs it, so that `likewise --help` answers at once. A verb's module,
`cli/HEADING/VERB.py`, has a function `run(words)` and the dataclass of its flags; a new verb is such a module and its
line in `HELP`.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Sequence

from likewise import __version__
from likewise.errors import InputError, LikewiseError, unknown
from likewise.files import no_room, refusal
from likewise.threads import share_processors

HELP = """\
usage: likewise VERB ...

Learn visual representations from images without labels, or with few.

learning
  train DATA       an encoder from a folder, list, Parquet or NumPy file of images
  finetune RUN     encoder and classifier on labelled images
  methods          the training methods, with their papers
  recipes          chains of training runs, of papers that train more than once
  trial DATA       compare untrained, pretrained, distilled and self-supervised encoders on a sample
  doctor DATA      describe data, the settings that would be chosen, and the speed; or check an index

judging
  evaluate RUN     score an encoder: neighbours, linear, few-shot, clustering, retrieval, ...
  audit RUN        accuracy on distorted images, and agreement with other observers
  drift RUN NEW    tests of new data against old, and the images that are new
  compare RUN...   runs side by side: scores with tests, budgets, curves, labels needed

labelling
  select RUN       choose images to label, before any label exists
  label LIST       a local page to label them with the keyboard
  predict RUN DATA classes of images from few labels, calibrated, with "none of these"
  discover RUN     classes among unlabelled images: known ones and new ones

looking
  explore RUN      all images on one page: a map, neighbours, near-duplicates, outliers, lists to go on with
  localise RUN     objects located without labels: masks, boxes, a sheet of images

using
  embed RUN DATA   vectors of images, in an index or a file; a second call takes in what changed
  search INDEX     the images most similar to a query
  serve INDEX      the same over HTTP, with a page
  duplicates DATA  same bytes, same pixels, near duplicates
  upgrade INDEX    replace the encoder of an index in use, after an estimate of the change

keeping
  export RUN       the encoder as safetensors in timm keys, as ONNX, or packed
  convert FILE     a checkpoint of lightly, solo-learn, MoCo, SwAV, DINO or ISD as a weights file
  cache            decoded images on this machine, with size and last use; --clear removes them

likewise VERB --help explains a verb; likewise train --method isd --help shows that method's own settings.
A first run:  likewise train photos/ --minutes 10
"""
VERBS = {
    verb: stage
    for stage, verbs in re.findall(r"^([a-z]+)\n((?:  .+\n)+)", HELP, re.MULTILINE)
    for verb in re.findall(r"^  ([a-z]+) ", verbs, re.MULTILINE)
}
"""Verb -> the heading above it in `HELP`, which is the package of its module."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit status: 0 done, 2 bad input, 3 stopped by health or a non-finite loss."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # paths whose bytes are no text are written as they are
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        return _dispatch(words)
    except LikewiseError as error:
        print(f"likewise: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("likewise: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output, such as head, has seen enough; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if (reason := refusal(error)) is None:
            raise
        print(f"likewise: {reason}", file=sys.stderr)
        return (LikewiseError if no_room(error) is not None else InputError).exit_status


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in {"-h", "--help", "help"}:
        print(HELP, end="")
        return 0
    if words[0] in {"-V", "--version"}:
        print(f"likewise {__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        raise unknown("verb", verb, VERBS)
    share_processors()
    importlib.import_module(f"likewise.cli.{VERBS[verb]}.{verb}").run(rest)
    return 0
