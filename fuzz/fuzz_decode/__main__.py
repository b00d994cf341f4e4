"""`python -m fuzz_decode` is `fuzz-decode`."""

import sys

from fuzz_decode.cli import main

if __name__ == "__main__":
    sys.exit(main())
