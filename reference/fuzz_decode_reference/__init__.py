"""Paged decode attention by its definition, in float64, and the error bound of a correct kernel."""

from fuzz_decode_reference.bound import ErrorBound, Rounding, attention_and_bound, error_bound
from fuzz_decode_reference.gather_attention import gather_attention

__all__ = ["ErrorBound", "Rounding", "attention_and_bound", "error_bound", "gather_attention"]
