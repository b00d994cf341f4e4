"""Generic mutants: every operator at every place of the kernel's source where it applies."""
