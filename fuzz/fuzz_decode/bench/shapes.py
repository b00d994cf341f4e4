"""The decode problems that are timed, as plain data, and the bytes and operations that each of them needs."""

from __future__ import annotations

import random
from dataclasses import dataclass

from fuzz_decode.cases.case import Case

EVERY_LAYOUT = ("contiguous", "permuted", "HND", "interleaved", "padded", "misaligned")
TYPICAL = ("permuted", "interleaved")
BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}


@dataclass(frozen=True, slots=True)
class BenchShape:
    """A decode problem without the layout of its cache."""

    name: str
    seq_lens: tuple[int, ...]
    num_q_heads: int = 32
    num_kv_heads: int = 8
    head_dim: int = 128
    value_head_dim: int = 128
    block_size: int = 16
    dtype: str = "bfloat16"
    cache_dtype: str | None = None
    mla: bool = False
    """V is the first `value_head_dim` elements of the rows of K."""
    q_len: int = 1
    window: int | None = None
    layouts: tuple[str, ...] = TYPICAL
    """Those that it is timed in by default."""

    def __str__(self) -> str:
        shortest, longest = min(self.seq_lens), max(self.seq_lens)
        lengths = str(longest) if shortest == longest else f"{shortest} to {longest}"
        dims = f"{self.head_dim}/{self.value_head_dim}" if self.mla else str(self.head_dim)
        more = {"caches": self.cache_dtype, "window": self.window, "q_len": self.q_len if self.q_len > 1 else None}
        words = [f"{name} {value}" for name, value in more.items() if value is not None]
        heads = f"{self.num_q_heads}/{self.num_kv_heads} heads of {dims}"
        return ", ".join([f"{len(self.seq_lens)} x {lengths} tokens", heads, f"blocks of {self.block_size}", *words])


def _ragged() -> tuple[int, ...]:
    source = random.Random(0)
    return tuple(source.randint(1, 8192) for _ in range(64))


_PLAIN = (4096,) * 64
ANCHORS = (
    BenchShape("gqa-4k", _PLAIN, layouts=EVERY_LAYOUT),
    BenchShape("long-64k", (65536,), layouts=EVERY_LAYOUT),
    BenchShape("mha-2k", (2048,) * 16, 32, 32, layouts=EVERY_LAYOUT),
    BenchShape("gqa-1k", (1024,) * 128, 64, 8, block_size=64, layouts=EVERY_LAYOUT),
    BenchShape("mqa-8k", (8192,) * 8, 8, 1, block_size=32, layouts=EVERY_LAYOUT),
)
OTHERS = (
    BenchShape("ragged", _ragged()),
    BenchShape("one-long", (65536, *(256,) * 63)),
    *(BenchShape(f"block-{size}", _PLAIN, block_size=size) for size in (1, 64, 544)),
    *(BenchShape(f"dim-{dim}", _PLAIN, head_dim=dim, value_head_dim=dim) for dim in (64, 80)),
    BenchShape("dim-256", (2048,) * 64, head_dim=256, value_head_dim=256),
    BenchShape("fp8", _PLAIN, cache_dtype="float8_e4m3fn"),
    *(BenchShape(f"mla-{heads}", _PLAIN, heads, 1, 576, 512, mla=True, layouts=("permuted",)) for heads in (16, 128)),
    BenchShape("q-len-4", _PLAIN, q_len=4),
    BenchShape("window-1k", _PLAIN, window=1024),
)
SHAPES = {shape.name: shape for shape in (*ANCHORS, *OTHERS)}


def visible_tokens(case: Case) -> int:
    """Number of tokens that some query token sees, of all sequences."""
    window = max(case.seq_lens) if case.window is None else case.window + case.q_len - 1
    return sum(min(length, window) for length in case.seq_lens)


def cache_bytes(case: Case) -> int:
    """Bytes of K and V that a kernel has to read; V of MLA is part of the rows of K, and read with them."""
    row = case.head_dim + (0 if case.v_prefix_of_k else case.value_head_dim)
    return visible_tokens(case) * case.num_kv_heads * row * BITS[case.cache_dtype or case.dtype] // 8


def total_bytes(case: Case) -> int:
    """The same with q and out, each once."""
    rows = case.num_rows * case.num_q_heads * (case.head_dim + case.value_head_dim)
    return cache_bytes(case) + rows * BITS[case.dtype] // 8


def operations(case: Case) -> int:
    """Multiplications and additions of q.k and p.v."""
    seen = 0
    for length in case.seq_lens:
        ends = range(length - case.q_len + 1, length + 1)
        seen += sum(max(0, end if case.window is None else min(end, case.window)) for end in ends)
    return 2 * seen * case.num_q_heads * (case.head_dim + case.value_head_dim)
