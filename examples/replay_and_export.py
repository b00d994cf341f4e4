"""A stored case: run it again on a fixed and on a faulty kernel, and export it as a script that needs no fuzz-decode.

    python examples/replay_and_export.py

On the command line, and in CI:

    fuzz-decode replay corpus/ae2674ae70f9.json --target mypackage.kernels:decode
    fuzz-decode export corpus/ae2674ae70f9.json -o repro.py --target mypackage.kernels:decode
    pytest corpus --decode-target mypackage.kernels:decode
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz_decode.cli import main

CASE = Path(__file__).parents[1] / "corpus" / "ae2674ae70f9.json"  # the bug of ROCm/aiter PR 3498, minimized
FAULTY = "mutant:k-block-stride-dense"  # the bundled kernel with that bug; yours is mypackage.kernels:decode


def run() -> None:
    fixed = main(["replay", str(CASE), "--target", "bundled", "--device", "cpu"])
    faulty = main(["replay", str(CASE), "--target", FAULTY, "--device", "cpu"])
    print(f"replay: exit code {fixed} on the bundled kernel, {faulty} on the faulty one")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "repro.py")
        main(["export", str(CASE), "-o", str(script), "--target", FAULTY])
        shown = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
        print(f"export: {len(script.read_text().splitlines())} lines, exit code {shown.returncode} while the bug is there")
        print(shown.stdout)


if __name__ == "__main__":
    run()
