"""Stride-aware paged decode attention in Triton, and mutants of it. Importing this package does not import Triton: the kernel is
imported from `fuzz_decode_kernels.paged_decode`, after TRITON_INTERPRET has been set or not."""
