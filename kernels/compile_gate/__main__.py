"""`python -m compile_gate`: see `command.py`."""

import sys

from compile_gate.command import main

if __name__ == "__main__":  # not in the processes that compile, which import this too
    sys.exit(main())
