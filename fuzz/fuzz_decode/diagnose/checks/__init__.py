"""Experiments that tell what a kernel depends on where no single fault explains it."""
