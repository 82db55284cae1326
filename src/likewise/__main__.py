"""`python -m likewise` is the same as the command `likewise`."""

from __future__ import annotations

import sys

from likewise.cli import main

if __name__ == "__main__":
    sys.exit(main())
