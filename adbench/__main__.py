"""`python -m adbench` is `adbench`."""

import sys

from adbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
