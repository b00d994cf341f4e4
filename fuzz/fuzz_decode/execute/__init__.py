"""One case through one target in this process: call it, compare it."""
