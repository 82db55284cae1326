"""`make demo`: trains ISD on real images in about two minutes and writes a report."""

from __future__ import annotations

import argparse

from likewise.commands import command, following
from likewise.errors import InputError, LikewiseError
from likewise.terminal import paragraph
from likewise.threads import share_processors

DIGITS = "digits"
"""5,000 handwritten digits that need no download."""


def demo(data: str, minutes: float, out: str | None) -> int:
    """Train, score before and after where labels exist, and say where to look. Returns the exit status."""
    from likewise.verbs.judging.evaluate import evaluate
    from likewise.verbs.judging.score_text import as_text
    from likewise.verbs.learning.train import train

    flip = data != DIGITS  # a mirrored 2 is no 2
    again = command("train", data, minutes=f"{minutes:g}", no_flip=not flip)
    print(f"Training ISD on {data} for {minutes:g} minutes", flush=True)
    run = train(data, minutes=minutes, flip=flip, command=again, out=out)
    print("Scoring", flush=True)
    try:
        result = evaluate(run.path, data, probe=("knn",), untrained=True)
    except InputError as error:  # a folder of images has no labels, and that is fine
        print(paragraph(f"no scores: {error}", indent="  "))
    else:
        print(f"\n{as_text(result, brief=True)}")
    print(f"\nreport  {run.report_file.absolute()}")
    for proposal in following(run.path, run.read()):
        print(f"next    {proposal.command}")
    return 0


def main() -> int:
    """Parse the few options and run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=DIGITS, help="any data; by default handwritten digits, no download")
    parser.add_argument("--minutes", type=float, default=1.5, help="training time")
    parser.add_argument("--out", default=None, help="run directory")
    options = parser.parse_args()
    share_processors()
    try:
        return demo(options.data, options.minutes, options.out)
    except LikewiseError as error:
        print(f"likewise: {error}")
        return error.exit_status


if __name__ == "__main__":
    raise SystemExit(main())
