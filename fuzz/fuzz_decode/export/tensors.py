"""The lines that build the tensors of a case: the memory behind each, with everything that is not referenced NaN, and its values.

They are read off the problem that `build` makes, so that they are the very same: shapes, strides, offsets, room. Values are drawn
again where they are plain draws, and packed where they are not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.export.literals import Constants, array, wrapped
from fuzz_decode.problems.poison import FILL_LIMIT, UNWRITTEN
from fuzz_decode.problems.problem import Problem

DRAWN = ("gaussian", "uniform")

STRIDED = '''\
def strided(shape, strides, offset, elements, dtype, bits=-1):
    """A view of memory that is NaN (all bits set) where nothing is put, 64 KiB on both sides included: none of it may count."""
    guard, integer = 65536 // dtype.itemsize, {1: torch.int8, 2: torch.int16, 4: torch.int32}[dtype.itemsize]
    memory = torch.empty(guard + elements + guard, dtype=dtype, device=DEVICE)
    memory.view(integer).fill_(bits)
    return memory.as_strided(shape, strides, guard + offset)
'''
FILL = "    memory.view(integer).fill_(bits)\n"
STRIDED_OR_NOT_FILLED = STRIDED.replace(FILL, f"    if bits is not None:\n    {FILL}")
WHOLE = '''\
def whole(view):
    """All the memory behind a view, as bytes."""
    return torch.empty(0, dtype=torch.uint8, device=DEVICE).set_(view.untyped_storage())
'''
POISON_AROUND = '''\
def poison_around(cache, block, slot):
    """Where memory is too large to be filled, but on a GPU: NaN in the 64 KiB around each live number, and at both ends."""
    if cache.is_cuda:
        return whole(cache).fill_(255)
    rows = block * cache.stride(0) + slot * cache.stride(1) + cache.storage_offset()
    heads, dims = (torch.arange(cache.shape[axis]) * cache.stride(axis) for axis in (2, 3))
    places = (rows[:, None, None] + heads[:, None] + dims) * cache.element_size()
    for chunk in (places // 65536).unique().tolist():
        whole(cache)[chunk * 65536 : (chunk + 1) * 65536] = 255
    whole(cache)[:65536] = whole(cache)[-65536:] = 255
'''
UNPACK = '''\
def unpack(text, dtype, *shape):
    """Numbers that are too many to be written out."""
    data = bytearray(zlib.decompress(base64.b64decode(text)))
    return torch.frombuffer(data, dtype=torch.uint8).view(dtype).view(shape)
'''


def helpers(code: str) -> list[str]:
    """The functions that the code calls, with two empty lines after each."""
    sparse = "poison_around(" in code
    used = {
        STRIDED_OR_NOT_FILLED if sparse else STRIDED: True,
        WHOLE: sparse or "whole(" in code,
        POISON_AROUND: sparse,
        UNPACK: "unpack(" in code,
    }
    return [line for text, needed in used.items() if needed for line in [*text.splitlines(), "", ""]]


def is_huge(problem: Problem, name: str = "") -> bool:
    """Whether the buffer of that name, or any, is a cache too large to be filled on the CPU."""
    caches = [problem.buffers[each] for each in ("k", "v") if each in problem.buffers and name in ("", each)]
    return any(buffer.storage.nbytes > FILL_LIMIT for buffer in caches)


def tensors(problem: Problem, constants: Constants, width: int) -> list[str]:
    """Lines that define q, k_cache, v_cache, block_table, seq_lens, out and scale, and the slopes and sinks that there are."""
    case = problem.case
    draw = [f"rng = torch.Generator().manual_seed({case.seed})"] if case.data in DRAWN else []
    lengths = array("seq_lens", problem.seq_lens, constants)
    table = array("block_table", problem.block_table.contiguous(), constants)
    return [
        *draw,
        *_filled("q", problem, problem.q, _query(problem, constants), width),
        *_caches(problem, constants, width),
        *_filled("block_table", problem, problem.block_table, table, width),
        *_filled("seq_lens", problem, problem.seq_lens, lengths, width),
        *_per_head(problem, width),
        *_strided("out", problem, problem.out, width, f"0x{UNWRITTEN[problem.out.dtype]:X}"),
        f"scale = {problem.scale!r}",
    ]


def _query(problem: Problem, constants: Constants) -> str:
    if problem.case.data not in DRAWN:
        return array("q", problem.q, constants)
    drawn = _draw(problem.values.q)
    return drawn if problem.case.data == "gaussian" else f"torch.zeros_like({drawn})"


def _caches(problem: Problem, constants: Constants, width: int) -> list[str]:
    """K and V, and the rows that sequences use: `block` and `slot` name them in the order in which they are drawn."""
    case, tokens = problem.case, problem.values.tokens
    lines = _strided("k_cache", problem, problem.k_cache, width, "None" * is_huge(problem, "k"), buffer="k")
    if case.v is None:
        further = int(problem.v_cache.storage_offset() - problem.k_cache.storage_offset())
        offset = f"k_cache.storage_offset(){f' + {further}' if further else ''}"
        view = [str(tuple(problem.v_cache.shape)), str(problem.v_cache.stride()), offset]
        lines += wrapped("v_cache = k_cache.as_strided(", view, width)
    else:
        lines += _strided("v_cache", problem, problem.v_cache, width, "None" * is_huge(problem, "v"), buffer="v")
    lines += _places(problem, constants, width)
    if is_huge(problem):
        lines += ["poison_around(k_cache, block, slot)", "poison_around(v_cache, block, slot)"]
    live = torch.tensor(case.blocks(), dtype=torch.long)[tokens.page], tokens.slot
    for name, cache, drawn in (("k_cache", problem.k_cache, problem.values.k), ("v_cache", problem.v_cache, problem.values.v)):
        if len(tokens.page) and (name == "k_cache" or not case.v_prefix_of_k):
            rows = _draw(drawn) if case.data in DRAWN else array(name, cache[live], constants)
            lines.append(f"{name}[block, slot] = {rows}.to({name})")
    return lines


def _places(problem: Problem, constants: Constants, width: int) -> list[str]:
    """Where live rows are; nothing is said of none, unless they are looked for."""
    tokens = problem.values.tokens
    if len(tokens.page) == 0:
        return ["block, slot = torch.zeros(2, 0, dtype=torch.long)"] * is_huge(problem)
    block = torch.tensor(problem.case.blocks(), dtype=torch.long)[tokens.page]
    places = [array(name, numbers, constants) for name, numbers in (("block", block), ("slot", tokens.slot))]
    together = f"block, slot = {', '.join(places)}"
    return [together] if len(together) <= width else [f"block = {places[0]}", f"slot = {places[1]}"]


def _per_head(problem: Problem, width: int) -> list[str]:
    """The slopes and sinks in use. Slopes are drawn before sinks, and from a stream of their own."""
    slopes, sinks = (f"torch.{draw}({problem.case.num_q_heads}, generator=rng)" for draw in ("rand", "randn"))
    lines = [f"rng = torch.Generator().manual_seed({problem.case.seed + 2})"]
    if problem.alibi_slopes is not None:
        lines += _filled("alibi_slopes", problem, problem.alibi_slopes, f"torch.exp2(-5 * {slopes})", width)
    if problem.sinks is not None:
        lines += [] if problem.case.alibi else [f"{slopes}  # slopes are drawn before, used or not"]
        lines += _filled("sinks", problem, problem.sinks, f"2 * {sinks}", width)
    return lines if len(lines) > 1 else []


def _draw(values: Tensor) -> str:
    return f"torch.randn({', '.join(map(str, values.shape))}, generator=rng)"


def _filled(name: str, problem: Problem, view: Tensor, values: str, width: int) -> list[str]:
    lines = _strided(name, problem, view, width)
    together = f"{lines[0]}.copy_({values})"
    return [together] if len(lines) == 1 and len(together) <= width else [*lines, f"{name}.copy_({values})"]


def _strided(name: str, problem: Problem, view: Tensor, width: int, bits: str = "", buffer: str = "") -> list[str]:
    memory = problem.buffers[buffer or name]
    offset, elements = int(view.storage_offset()) - memory.guard, len(memory.storage) - 2 * memory.guard
    arguments = [str(tuple(view.shape)), str(view.stride()), str(offset), str(elements), str(view.dtype), bits]
    return wrapped(f"{name} = strided(", arguments[: 6 if bits else 5], width)
