"""A mutant: a fault that a released kernel had, as a small edit of the bundled one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault and the edits that give the bundled kernel it."""

    kind: str
    """The fault's class, one of KINDS."""
    fault: str
    """One line: what the kernel does wrong."""
    trigger: str
    """One line: the cases on which it shows."""
    seen: tuple[str, ...]
    """Reports of released kernels that had it, as paths on GitHub."""
    edits: tuple[tuple[str, str], ...]
    """(old, new) texts; each old text occurs once."""
    diagnosis: tuple[str, ...] = ()
    """Names of diagnoses that are right; none where no hypothesis fits."""
    beyond: str = ""
    """Why no campaign detects it, if none does."""

    @property
    def links(self) -> tuple[str, ...]:
        return tuple(f"https://github.com/{path}" for path in self.seen)


KINDS = {
    "S1": "block stride",
    "S2": "stride of q or of an inner axis",
    "S3": "K and V geometry assumed equal",
    "S4": "packed or offset views",
    "S5": "stride of out or scratch",
    "S6": "stride of an axis of size 1",
    "B1": "block table",
    "I1": "integer overflow",
    "T1": "over-read",
    "T2": "mask of a partial block or tile",
    "Z1": "empty sequence",
    "K1": "splits and their merge",
    "K2": "LSE convention",
    "W1": "sliding window",
    "P1": "block size",
    "H1": "head dim",
    "G1": "group of query heads",
    "A1": "sinks",
    "A2": "softcap",
    "A3": "ALiBi",
    "A4": "mask sentinel and range of exp",
    "Q1": "float8 scales",
    "Q2": "several query tokens",
    "N1": "precision",
    "L1": "launch",
}
