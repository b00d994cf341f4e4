"""Drawing cases: choices, draws, streams, rounds that share compiled kernels, call sequences, coverage."""
