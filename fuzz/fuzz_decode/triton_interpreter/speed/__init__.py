"""Acceleration of Triton's interpreter with the same bits. Removable: without it everything runs, slower."""
