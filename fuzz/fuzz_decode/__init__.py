"""Differential correctness fuzzing for paged KV-cache decode attention kernels."""

__version__ = "0.1.0"

__all__ = ["__version__", "target"]


def __getattr__(name: str) -> object:
    """`fuzz_decode.target` on demand: importing the package must import neither torch nor triton."""
    if name == "target":
        from fuzz_decode.targets.contract import target

        return target
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
