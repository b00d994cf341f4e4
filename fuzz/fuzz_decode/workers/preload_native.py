"""Imported by multiprocessing's server, which is told nothing but names of modules."""

from fuzz_decode.workers.engines import NATIVE
from fuzz_decode.workers.preload import preload

preload(NATIVE)
