"""Imported by multiprocessing's server, which is told nothing but names of modules."""

from fuzz_decode.workers.engines import INTERPRETER
from fuzz_decode.workers.preload import preload

preload(INTERPRETER)
