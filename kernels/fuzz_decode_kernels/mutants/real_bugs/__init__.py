"""Faults of released kernels, by what they spoil. Add one to the file it belongs to: what the faulty kernel did, on what it
showed, where that was seen, and the edit."""

from fuzz_decode_kernels.mutants.mutant import Mutant
from fuzz_decode_kernels.mutants.real_bugs import addresses, features, tokens

REAL_BUGS: dict[str, Mutant] = {**addresses.MUTANTS, **tokens.MUTANTS, **features.MUTANTS}

__all__ = ["REAL_BUGS"]
