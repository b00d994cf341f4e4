"""Faults of the launch: cached and swapped arguments, a limited grid."""

from __future__ import annotations

from fuzz_decode_kernels.mutants.mutant import Mutant

MUTANTS: dict[str, Mutant] = {
    "scale-cached": Mutant(
        "L1",
        "the softmax scale is remembered under a key of shapes",
        "a second call of the same shapes with another scale",
        ("flashinfer-ai/flashinfer/pull/4014",),
        (
            ("\nPOINTERS = (", "\n_SEEN = {}\nPOINTERS = ("),
            (
                "    interpreted = q.device.type",
                "    scale = _SEEN.setdefault((head_dim, q.dtype), scale)\n    interpreted = q.device.type",
            ),
        ),
        diagnosis=("scale-ignored",),
    ),
    "launch-arguments-swapped": Mutant(
        "L1",
        "two sizes are swapped at the launch",
        "group is not num_kv_heads",
        ("flashinfer-ai/flashinfer/pull/640",),
        (
            (
                "num_kv_heads, group, head_dim, value_head_dim, block_size, num_seqs,",
                "group, num_kv_heads, head_dim, value_head_dim, block_size, num_seqs,",
            ),
        ),
        diagnosis=("uninitialised-scratch",),
    ),
    "grid-limited": Mutant(
        "L1",
        "programs beyond 65535 are not launched, and nobody is told",
        "65536 programs or more",
        ("flashinfer-ai/flashinfer/issues/3125", "fla-org/flash-linear-attention/issues/1096"),
        (
            (
                "_merge_shares[(num_seqs * num_kv_heads * num_pieces,)](",
                "_merge_shares[(min(num_seqs * num_kv_heads * num_pieces, 65535),)](",
            ),
        ),
        beyond="65,536 programs take minutes in the interpreter, and the reference",
    ),
}
