"""Faults of released kernels, one file a family. Add one to the file of its class: what the faulty kernel does, on which cases it
shows, the report of it, and the edit."""

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs import block_table, heads, launch, options, splits, strides, tails, visibility

FAMILIES = (strides, block_table, tails, splits, visibility, heads, options, launch)
REAL_BUGS: dict[str, Mutant] = {name: mutant for family in FAMILIES for name, mutant in family.MUTANTS.items()}

__all__ = ["REAL_BUGS"]
