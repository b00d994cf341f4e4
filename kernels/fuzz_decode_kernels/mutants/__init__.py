"""Faults of released kernels, as small edits of the bundled one. Importing this is light: no Triton."""

from fuzz_decode_kernels.mutants.load import AND, MUTANTS, load_mutant, mutant_source
from fuzz_decode_kernels.mutants.mutant import KINDS, Mutant

__all__ = ["AND", "KINDS", "MUTANTS", "Mutant", "load_mutant", "mutant_source"]
