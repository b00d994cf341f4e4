"""Oracles: what can be wrong with a run. Each is a function `(problem, run) -> violations` that never raises and never prints.

`IMMEDIATE` need one run; `repeatability` compares with another one. The order matters: the first violation names the failure, and
damaged memory outranks a value that is wrong because of it.
"""

from fuzz_decode.oracles.completeness import written
from fuzz_decode.oracles.guards import inputs_intact, no_stray_writes
from fuzz_decode.oracles.numeric import within_bound
from fuzz_decode.oracles.provenance import reads_what_it_should

IMMEDIATE = (no_stray_writes, inputs_intact, written, reads_what_it_should, within_bound)

__all__ = ["IMMEDIATE"]
