"""Other projects' published test grids as data: what their suites would find, measured on the same mutants."""

from fuzz_decode.evaluate.peer_grids.grid import CPU, GPU, UNCUT, Cut, Grid
from fuzz_decode.evaluate.peer_grids.published import GRIDS, peers

__all__ = ["CPU", "GPU", "GRIDS", "UNCUT", "Cut", "Grid", "peers"]
