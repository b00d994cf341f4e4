"""Reducing a failing case, or a sequence of calls, to the simplest one that fails in the same way."""
