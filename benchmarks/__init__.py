"""How fast likewise is beside its peers, measured: `make bench`, or each alone, `python -m benchmarks.views --quick`.

Every module here prints one JSON object with the figures of all sides, taken in turn in one process. `RESULTS.md` is
written from the stored objects and never by hand.
"""
