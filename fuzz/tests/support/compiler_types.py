"""The types that the compiler and the interpreter give to the same constructs: a script, since one process cannot do both.

`python compiler_types.py FILE`, with TRITON_INTERPRET=1 or without, writes a JSON object: construct -> type, or "rejected". The
compiler stops at TTIR, which needs no GPU.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton.language as tl

# statements, if any, then an expression; of blocks of 16 (B int32, H float16, W float32, X uint8, Z uint32, M int64, S int16),
# scalars (n int32, N int64, f float32) and constants (C = 5, FC = 2.5)
CONSTRUCTS = (
    "B + n",
    "B + N",
    "H * f",
    "H * 2.5",
    "H + n",
    "H + B",
    "H * FC",
    "S + n",
    "S + 1",
    "S * 70000",
    "X + 1",
    "X + n",
    "Z + n",
    "Z + S",
    "Z + -1",
    "2147483648 + B",
    "B * 2147483648",
    "B + 4294967296",
    "B // 3",
    "B // -3",
    "B // n",
    "B % 5",
    "B % -5",
    "Z % n",
    "Z // B",
    "W // 2.0",
    "W % 3.0",
    "B / 4",
    "H / 3",
    "H / n",
    "M / B",
    "Z / B",
    "B << 3",
    "B >> 1",
    "Z >> 1",
    "n >> 1",
    "S << 10",
    "1 << B",
    "B & 7",
    "(B > 2) & 1",
    "(B > 2) | (B < 1)",
    "(B > 2) ^ (B > 5)",
    "(B > 2) and B",
    "(B > 2) or n",
    "not (B > 2)",
    "not B",
    "not W",
    "not n",
    "~(B > 2)",
    "~B",
    "~X",
    "-B",
    "-X",
    "-(B > 2)",
    "Z > B",
    "X > -1",
    "H > 0.1",
    "0 < B < n",
    "tl.where(n > 2, 1.0, 0.0)",
    "tl.where(B > 2, 1, 0)",
    "tl.where(B > 2, H, 0.0)",
    "tl.where(B > 2, H, W)",
    "tl.where(B > 2, H, f)",
    "tl.where(B > 2, 4294967296, 0)",
    'tl.where(B > 2, W, float("-inf"))',
    "max(H, 0.5)",
    "max(B, n)",
    "max(B, N)",
    "min(n, 7)",
    "min(B, n, 4)",
    "tl.maximum(H, 0.1)",
    "tl.maximum(H, W)",
    "1 if n > 2 else 0",
    "H * (1.5 if n > 2 else 0.5)",
    "H * (1.5 if C > 2 else 0.5)",
    "f if n > 2 else 0.5",
    "B if n > 2 else B * 2",
    "a, c = two(B); c",
    "a, c = two(n); c",
    "dflt(B)",
    "dflt(n, 2)",
    "B * (C * 2 + 1)",
    "B * (C / 2)",
    "B + C // 2",
    "B + -C",
    "B + (1 << C)",
    "B + 2 ** C",
    "B + max(C, 3)",
    "B if C > 3 else B + 1",
    "B * (C > 3 and C < 9)",
    "B * (0 < C < 9)",
    "tl.sum(H, 0)",
    "tl.sum(S, 0)",
    "tl.sum(B > 2, 0)",
    "tl.sum(X, 0)",
    "tl.sum(H.to(tl.bfloat16), 0)",
    "tl.sum(S, 0, dtype=tl.int64)",
    "tl.max(H, 0)",
    "tl.max(S, 0)",
    "tl.max((B > 2).to(tl.int1), 0)",
    "tl.argmax(W, 0)",
    "tl.cumsum(H, 0)",
    "tl.cumsum(S, 0)",
    "tl.cumsum(B > 2, 0)",
    "tl.exp(W)",
    "tl.cdiv(n, 16)",
    "tl.cdiv(B, 16)",
    "B.to(tl.float16)",
    "W.to(tl.int32)",
    "B.to(tl.uint8)",
    "B.to(tl.int1)",
    "H.to(tl.bfloat16)",
    "(B > 2) * 3",
    "(B > 2) * 1.5",
    "(B > 2) * (B > 5)",
    "(B > 2) + (B > 5)",
    "(B > 2) - (B > 5)",
    "x = n; x",
    "x = B; x += 1; x",
    "x = 0; x = x + f; x",
    "x = H; x *= 2.5; x",
    "x = 0; x += B; x",
    "x = 0.0; x += H; x",
    "x = 3; x",
    "x = 0.1; x * H",
    "x = 2147483648; x + B",
    "x = True; x",
    "x, y = 3, 0.5; y * H",
    "x, y = 3, 5; y * S",
    "x: tl.float32 = 0.5; x * H",
    "x: tl.constexpr = 0.5; x * H",
    "(y := B + 1) * y",
    "tl.program_id(0)",
    "tl.program_id(0) * N",
    "tl.num_programs(0) * S",
    "tl.arange(0, 16) * n",
    "tl.arange(0, 16) * N",
    "tl.full([16], 3, tl.int16) * 70000",
    "tl.zeros([16], tl.float16) + f",
    "tl.sum(H * f, 0)",
    "H * H",
    "H * W",
    "B * n * n",
    "tl.load(h + i, mask=i < n, other=0.0)",
    "tl.load(h + i, mask=i < n, other=f)",
    "tl.clamp(W, 0.0, 1.0)",
    "tl.fma(W, W, W)",
    "tl.sqrt(W)",
    "tl.abs(S)",
    "(b + i).to(tl.int64)",
    "r0 = B\n    for j in range(0, n): r0 = r0 + j; r0",
    "r0 = n\n    for j in range(n): r0 = j; r0",
    "r0 = S\n    for j in range(3): r0 = r0 + j.to(tl.int16); r0",
    "r0 = S\n    for j in tl.static_range(3): r0 = r0 + j; r0",
    "r0 = H\n    for j in tl.static_range(3): r0 = r0 * j; r0",
    "r0 = n\n    while r0 > 3: r0 -= 1; r0",
    "r0 = n\n    if n > 2: r0 = n * 2; r0",
    "r0 = n\n    if n > 2 and f > 0.5: r0 = n * 2; r0",
    "r0 = n\n    if not n > 2: r0 = n * 2; r0",
    "r0 = n\n    if n: r0 = n * 2; r0",
    "r0 = n\n    if 0 < n < 9: r0 = n * 2; r0",
    "r0 = n\n    if B > 2: r0 = n * 2; r0",
    "B if B > 2 else B + 1",
    "B * int(C)",
    "B if n is None else B + 1",
    "int(n)",
    "int(f)",
    "float(n)",
    "bool(n)",
    "int(B)",
    "int(tl.program_id(0))",
    "x = 3; int(x)",
    "B * int(tl.cdiv(C, 2))",
    "H * float(FC)",
    'W * float("inf")',
    "x: tl.constexpr = C * 2; B * int(x)",
    "B * int(dflt(C))",
    "r0 = B\n    for j in tl.static_range(3): r0 = r0 + int(j); r0",
    "r0 = n\n    for j in range(int(n)): r0 = r0 + 1; r0",
    "n in (1, 2)",
    "n not in (1, 2)",
    "B in (1, 2)",
    "3 in (n, 2)",
    "r0 = n\n    if n in (1, 2): r0 = n * 2; r0",
    "B if (y := n) > 2 and y < 9 else B + y",
    "r0 = 0 < (y := B + 1) < 9; y",
    "FC *= 2; H * FC",
    "x: tl.constexpr = 0.5\n    x *= 2; H * x",
    "r0 = H\n    for j in range(n): r0 = r0 * W; r0",
    "r0 = H\n    for j in tl.static_range(3): r0 = r0 * W; r0",
    "r0 = 0.0\n    for j in range(n): r0 += H; r0",
    "r0 = 0.0\n    for j in tl.range(n): r0 += f; r0",
    "r0 = tl.zeros([16], tl.float16)\n    for j in range(3): r0 += W * 2; r0",
    "r0 = tl.zeros([16], tl.float16)\n    for j in range(3): r0 += (W * 2).to(tl.float16); r0",
    "r0 = b\n    for j in range(n): r0 += i; r0",
    "r0 = b\n    for j in range(n): r0 += n; r0",
    "r0 = n\n    while r0 > 3: r0 = r0 - 0.5; r0",
    "r0 = B\n    while n > 3: n, r0 = n - 1, W; r0",
    "r0 = B\n    for j in range(2):\n        if C > 3: r0 = W; r0",
    "r0 = B\n    for j in range(2):\n        if C > 7: r0 = W; r0",
    "r0 = B\n    for j in range(2):\n        for k in range(2): r0 = W; r0",
    "r0 = B\n    for j in range(2): x = W; r0",
    "for j in range(2): x = W\n    for k in range(2): x = H\n    r0 = B; r0",
    "for j in range(2): x = W\n    for k in range(2):\n        x = B\n        for l in range(2): x = x + 1\n    r0 = B; r0",
    "if n > 3: x = W\n    for k in range(2): x = H\n    r0 = B; r0",
    "x, y = B, H\n    for k in range(2): x, y = y, x\n    r0 = B; r0",
    "x: tl.float32 = 0.5\n    for k in range(2): x = x + n\n    r0 = x; r0",
    "tl.max(W, 0, return_indices=True)[0]",
    "tl.max(W, 0, return_indices=True)[1]",
    "tl.reshape(B, [4, 4])",
    "tl.reshape(B, [4, 4]).T",
    "tl.trans(tl.reshape(H, [2, 8]))",
    "tl.permute(tl.reshape(H, [2, 4, 2]), (2, 0, 1))",
    "tl.join(B, B)",
    "tl.split(tl.reshape(H, [8, 2]))[0]",
    "tl.interleave(S, S)",
    "tl.cat(B, B, can_reorder=True)",
    "tl.sort(W)",
    "tl.flip(B)",
    "tl.softmax(W)",
    "tl.histogram(B, 16)",
    "tl.gather(H, B, 0)",
    "tl.expand_dims(B, 0)",
    "tl.broadcast_to(B[None, :], [4, 16])",
    "B[:, None] * H[None, :]",
    "tl.ravel(tl.reshape(B, [4, 4]))",
    "tl.atomic_add(b + i, B)",
    "tl.atomic_add(b, n)",
    "tl.atomic_max(b + i, B)",
    "tl.atomic_cas(b, n, n)",
    "tl.atomic_xchg(b + i, B)",
    "tl.rand(n, i)",
    "tl.randint(n, i)",
    "tl.umulhi(B, B)",
    "tl.div_rn(W, W)",
    "tl.sum(B[:, None] * H[None, :], 1)",
    "tl.sum(B[:, None] * H[None, :], 1, keep_dims=True)",
    "tl.sum(B[:, None] * H[None, :])",
    "tl.max(B[:, None] + S[None, :], 1)",
    "tl.argmin(B[:, None] + S[None, :], 1)",
    "tl.xor_sum(B, 0)",
    "tl.cumprod(H, 0)",
    "tl.dot(H[:, None] + H[None, :], H[:, None] * H[None, :])",
    "tl.dot(H[:, None] + H[None, :], H[:, None] * H[None, :], out_dtype=tl.float16)",
    "tl.load(tl.make_block_ptr(h, (16,), (1,), (0,), (8,), (0,)))",
    "tl.advance(tl.make_block_ptr(h, (16,), (1,), (0,), (8,), (0,)), (4,))",
    "r0 = tl.make_block_ptr(h, (16,), (1,), (0,), (8,), (0,))\n    for j in range(2): r0 = tl.advance(r0, (4,)); B",
    "h + i",
    "h + M",
    "h.dtype.element_ty(3) if C > 9 else B",
    "(h + i).to(tl.pointer_type(tl.int16))",
    "B.cast(tl.float32, bitcast=True)",
    "tl.cast(B, tl.float64)",
    "tl.view(B, [4, 4])",
    "tl.where(B[:, None] > 2, H[None, :], -1e30)",
    "tl.zeros_like(H)",
    "tl.full([4, 4], n, tl.float32)",
    "tl.full([], 0.5, tl.float32)",
    "tl.swizzle2d(n, n, n, n, 2)[0]",
)
POINTERS = {"b": "i32", "h": "fp16", "w": "fp32", "u": "u8", "U": "u32", "L": "i64", "s": "i16"}
SIGNATURE = {**{name: f"*{kind}" for name, kind in POINTERS.items()}, "n": "i32", "N": "i64", "f": "fp32"}
CONSTANTS = {"C": 5, "FC": 2.5}
KERNEL = """
import triton, triton.language as tl

@triton.jit
def two(x):
    return x, x + 1

@triton.jit
def dflt(x, y=3):
    return x * y

@triton.jit
def kernel(b, h, w, u, U, L, s, n, N, f, C: tl.constexpr, FC: tl.constexpr):
    i = tl.arange(0, 16)
    B, H, W, X = tl.load(b + i), tl.load(h + i), tl.load(w + i), tl.load(u + i)
    Z, M, S = tl.load(U + i), tl.load(L + i), tl.load(s + i)
    {statements}
    note({expression})
"""


def load(folder: str, number: int, construct: str) -> ModuleType:
    """Triton reads a kernel's text from its file."""
    statements, _, expression = construct.rpartition("; ")
    path = Path(folder) / f"construct_{number}.py"
    path.write_text(KERNEL.format(statements=statements or "pass", expression=expression))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_to_ttir(kernel: Any) -> None:
    from triton._C.libtriton import ir
    from triton.backends.compiler import GPUTarget
    from triton.compiler.compiler import ASTSource, make_backend

    gpu = GPUTarget("cuda", 90, 32)
    backend, context = make_backend(gpu), ir.context()
    options = backend.parse_options({})
    ir.load_dialects(context)
    backend.load_dialects(context)
    source = ASTSource(kernel, SIGNATURE | dict.fromkeys(CONSTANTS, "constexpr"), CONSTANTS)
    source.make_ir(gpu, options, backend.get_codegen_implementation(options), backend.get_module_map(), context)


def interpret(kernel: Any) -> None:
    at = torch.arange(16)
    blocks = (at - 5).int(), (at / 7).half(), (at - 4) / 3, at.to(torch.uint8), at.to(torch.uint32), at, (at - 3).short()
    kernel[(1,)](*blocks, 6, 2**33, 0.3, *CONSTANTS.values())


def types(run: Any) -> dict[str, str]:
    """The type that each construct has in `run`."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, construct in enumerate(CONSTRUCTS):
            module, seen = load(folder, number, construct), []
            module.note = tl.core.builtin(lambda x, _semantic=None, seen=seen: seen.append(str(getattr(x, "type", type(x)))))
            if run is interpret:
                module.note = lambda x, seen=seen: seen.append(str(getattr(x, "type", type(x))))
            try:
                run(module.kernel)
            except Exception:  # of many kinds, in either
                seen = ["rejected"]
            found[construct] = seen[-1]
    return found


if __name__ == "__main__":
    if interpreted := os.environ.get("TRITON_INTERPRET") == "1":
        from fuzz_decode.triton_interpreter import patch_triton_interpreter

        patch_triton_interpreter()
    found = types(interpret if interpreted else compile_to_ttir)
    Path(sys.argv[1]).write_text(json.dumps(found))
