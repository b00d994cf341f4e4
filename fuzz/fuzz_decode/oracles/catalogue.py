"""The oracles that need one run only, in the order in which they judge it."""

from __future__ import annotations

from fuzz_decode.oracles.completeness import written
from fuzz_decode.oracles.guards import inputs_intact, no_stray_writes
from fuzz_decode.oracles.launches import stays_in_bounds, uses_defined_values, uses_written_memory
from fuzz_decode.oracles.numeric import within_bound
from fuzz_decode.oracles.provenance import reads_what_it_should

# The first finding names the failure: accesses and values without a meaning, and damaged memory, outrank a value that is wrong
# because of them.
IMMEDIATE = (
    stays_in_bounds,
    uses_defined_values,
    no_stray_writes,
    inputs_intact,
    written,
    reads_what_it_should,
    within_bound,
    uses_written_memory,
)
