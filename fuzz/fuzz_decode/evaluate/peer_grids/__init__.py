"""Published test grids of other projects as data, to measure which mutants their test suites detect."""

from fuzz_decode.evaluate.peer_grids.grid import CPU, GPU, UNCUT, Cut, Grid
from fuzz_decode.evaluate.peer_grids.published import GRIDS, peers

__all__ = ["CPU", "GPU", "GRIDS", "UNCUT", "Cut", "Grid", "peers"]
