"""Paged decode attention as its definition says, in float64, and how far a correct kernel may be from it."""

from fuzz_decode_reference.bound import ErrorBound, Rounding, attention_and_bound, error_bound
from fuzz_decode_reference.gather_attention import gather_attention

__all__ = ["ErrorBound", "Rounding", "attention_and_bound", "error_bound", "gather_attention"]
