"""Drawing cases: choices, strategies, streams, rounds that share compiled kernels, call sequences, coverage."""
