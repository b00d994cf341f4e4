"""Stride-aware paged decode attention in Triton, and the faults that kernels like it had. Importing this is light: the kernel
itself is imported from `fuzz_decode_kernels.paged_decode`, after TRITON_INTERPRET has been settled."""
