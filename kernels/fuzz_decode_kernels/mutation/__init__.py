"""Generic mutants: every operator at every node of the kernel's source where it applies."""
