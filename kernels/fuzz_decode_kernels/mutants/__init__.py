"""Faults of released kernels, as small edits of the bundled one."""
