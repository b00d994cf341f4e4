"""The lines that build the tensors of a case: the memory behind each, NaN wherever it is unreferenced, and the values.

They are derived from the problem that `build_problem` returns, so that shapes, strides, offsets and spans are the same. Values
are drawn again if they are plain draws, and packed otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fuzz_decode.export.literals import Constants, array, wrapped
from fuzz_decode.problems.build import garbage_of
from fuzz_decode.problems.garbage import LARGE, CacheGarbage, has_garbage_background
from fuzz_decode.problems.poison import FILL_LIMIT, UNWRITTEN, integer_beyond
from fuzz_decode.problems.poison import GARBAGE as GARBAGE_BYTE
from fuzz_decode.problems.problem import Problem

DRAWN = ("gaussian", "uniform")

STRIDED = '''\
def strided(shape, strides, offset, elements, dtype, bits=-1):
    """A view of memory that is NaN (all bits set) until it is written, with 64 KiB on both sides: none of it may matter."""
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
    """Memory too large to fill on the CPU: NaN in the 64 KiB around each live number, and at both ends."""
    if cache.is_cuda:
        return whole(cache).fill_(255)
    rows = block * cache.stride(0) + slot * cache.stride(1) + cache.storage_offset()
    heads, dims = (torch.arange(cache.shape[axis]) * cache.stride(axis) for axis in (2, 3))
    addresses = (rows[:, None, None] + heads[:, None] + dims) * cache.element_size()
    for chunk in (addresses // 65536).unique().tolist():
        whole(cache)[chunk * 65536 : (chunk + 1) * 65536] = 255
    whole(cache)[:65536] = whole(cache)[-65536:] = 255
'''
GARBAGE = '''\
def spoil(memory, largest):
    """Fill with finite numbers of both signs that would spoil a result, if they weighed anything: NaN is not allowed there."""
    number = torch.arange(4093)
    garbage = (1 - 2 * (number * 1117 % 4093 % 2)) * (4093 + number * 2531 % 4093) / 8186 * largest
    return memory.copy_(garbage.repeat(memory.numel() // 4093 + 1)[: memory.numel()].view(memory.shape))
'''
ALLOCATIONS = '''\
class Allocations(torch.overrides.TorchFunctionMode):
    """Fills what torch.empty hands out with large finite numbers: NaN is not allowed there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if "empty" in function.__name__ and result.dtype != torch.bool:
            whole(result).fill_(0x%X)
        return result
'''
SPOIL_AROUND = '''\
def spoil_around(cache, block, slot, largest):
    """The same for memory too large to fill on the CPU: the 64 KiB around each live number, and both ends."""
    memory = whole(cache).view(cache.dtype)
    if cache.is_cuda:
        return spoil(memory, largest)
    rows = block * cache.stride(0) + slot * cache.stride(1) + cache.storage_offset()
    heads, dims = (torch.arange(cache.shape[axis]) * cache.stride(axis) for axis in (2, 3))
    chunk = 65536 // cache.element_size()
    for start in ((rows[:, None, None] + heads[:, None] + dims) // chunk * chunk).unique().tolist():
        spoil(memory[start : start + chunk], largest)
    spoil(memory[:chunk], largest), spoil(memory[-chunk:], largest)
'''
UNPACK = '''\
def unpack(text, dtype, *shape):
    """A tensor from packed numbers."""
    data = bytearray(zlib.decompress(base64.b64decode(text)))
    return torch.frombuffer(data, dtype=torch.uint8).view(dtype).view(shape)
'''


def helpers(code: str) -> list[str]:
    """The helper functions that the code calls, with two empty lines after each."""
    poisoned, spoiled = "poison_around(" in code, "spoil_around(" in code
    allocated = "Allocations(" in code
    used = {
        STRIDED_OR_NOT_FILLED if poisoned or spoiled else STRIDED: True,
        WHOLE: poisoned or spoiled or allocated or "whole(" in code,
        POISON_AROUND: poisoned,
        GARBAGE: "spoil" in code,
        SPOIL_AROUND: spoiled,
        ALLOCATIONS % GARBAGE_BYTE: allocated,
        UNPACK: "unpack(" in code,
    }
    return [line for text, needed in used.items() if needed for line in [*text.splitlines(), "", ""]]


def is_huge(problem: Problem, name: str = "") -> bool:
    """Whether the buffer of that name, or any, is a cache too large to be filled on the CPU."""
    caches = [problem.buffers[each] for each in ("k", "v") if each in problem.buffers and name in ("", each)]
    return any(buffer.storage.nbytes > FILL_LIMIT for buffer in caches)


def tensors(problem: Problem, constants: Constants, width: int) -> list[str]:
    """Lines that define q, k_cache, v_cache, block_table, seq_lens, out and scale, and slopes and sinks if the case has them."""
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
    """K and V, and the rows that sequences use: `block` and `slot` index them in the order in which they are drawn."""
    case, tokens = problem.case, problem.values.tokens
    lines = _strided("k_cache", problem, problem.k_cache, width, "None" * is_huge(problem, "k"), buffer="k")
    if case.v is None:
        distance = int(problem.v_cache.storage_offset() - problem.k_cache.storage_offset())
        offset = f"k_cache.storage_offset(){f' + {distance}' if distance else ''}"
        view = [str(tuple(problem.v_cache.shape)), str(problem.v_cache.stride()), offset]
        lines += wrapped("v_cache = k_cache.as_strided(", view, width)
    else:
        lines += _strided("v_cache", problem, problem.v_cache, width, "None" * is_huge(problem, "v"), buffer="v")
    lines += _live_rows(problem, constants, width)
    garbage = dict(zip(("k", "v"), garbage_of(problem), strict=True))
    lines += [line for name, parts in garbage.items() for line in _background(problem, name, parts)]
    if case.finite:
        lines += [line for name, parts in garbage.items() for line in _garbage(f"{name}_cache", parts, constants)]
    live = torch.tensor(case.blocks(), dtype=torch.long)[tokens.page], tokens.slot
    for name, cache, drawn in (("k_cache", problem.k_cache, problem.values.k), ("v_cache", problem.v_cache, problem.values.v)):
        if len(tokens.page) and (name == "k_cache" or not case.v_prefix_of_k):
            rows = _draw(drawn) if case.data in DRAWN else array(name, cache[live], constants)
            lines.append(f"{name}[block, slot] = {rows}.to({name})")
    return lines


def _background(problem: Problem, name: str, parts: CacheGarbage) -> list[str]:
    """Lines that fill the memory behind K or V, if it is not NaN from the start."""
    cache = f"{name}_cache"
    if is_huge(problem, name if name in problem.buffers else "k"):
        around = f"{cache}, block, slot"
        return [f"spoil_around({around}, {parts.largest!r})" if parts.background else f"poison_around({around})"]
    return [_spoiled(cache, parts.largest)] * (parts.background and name in problem.buffers)


def _garbage(cache: str, parts: CacheGarbage, constants: Constants) -> list[str]:
    """Lines that write finite garbage into slots of K or V that no sequence sees, as `build_problem` does."""
    in_each = f"{cache}.copy_(spoil(torch.empty({cache}.shape[1:]), {parts.largest!r}))"
    lines = {None: [], True: [in_each], False: [f"{cache}.fill_(torch.nan)"]}[parts.pool]
    if len(parts.used):
        lines.append(f"{cache}[{array('used', parts.used, constants)}] = torch.nan")
    if len(parts.slot):
        lines.append(f"at = {array('unused_block', parts.block, constants)}, {array('unused_slot', parts.slot, constants)}")
        lines.append(f"{cache}[at] = spoil({cache}[at].float(), {parts.largest!r}).to({cache})")
    return lines


def _spoiled(tensor: str, largest: float) -> str:
    return f"spoil(whole({tensor}).view({tensor}.dtype), {largest!r})"


def _live_rows(problem: Problem, constants: Constants, width: int) -> list[str]:
    """Lines that define the block and slot of each live row; none without such rows, unless memory around them is filled."""
    tokens = problem.values.tokens
    if len(tokens.page) == 0:
        return ["block, slot = torch.zeros(2, 0, dtype=torch.long)"] * is_huge(problem)
    block = torch.tensor(problem.case.blocks(), dtype=torch.long)[tokens.page]
    indices = [array(name, numbers, constants) for name, numbers in (("block", block), ("slot", tokens.slot))]
    together = f"block, slot = {', '.join(indices)}"
    return [together] if len(together) <= width else [f"block = {indices[0]}", f"slot = {indices[1]}"]


def _per_head(problem: Problem, width: int) -> list[str]:
    """The slopes and sinks in use. Slopes are drawn before sinks, from a generator of their own."""
    slopes, sinks = (f"torch.{draw}({problem.case.num_q_heads}, generator=rng)" for draw in ("rand", "randn"))
    lines = [f"rng = torch.Generator().manual_seed({problem.case.seed + 2})"]
    if problem.alibi_slopes is not None:
        lines += _filled("alibi_slopes", problem, problem.alibi_slopes, f"torch.exp2(-5 * {slopes})", width)
    if problem.sinks is not None:
        lines += [] if problem.case.alibi else [f"{slopes}  # slopes are drawn first, used or not"]
        lines += _filled("sinks", problem, problem.sinks, f"2 * {sinks}", width)
    return lines if len(lines) > 1 else []


def _draw(values: Tensor) -> str:
    return f"torch.randn({', '.join(map(str, values.shape))}, generator=rng)"


def _filled(name: str, problem: Problem, view: Tensor, values: str, width: int) -> list[str]:
    beyond = "" if view.dtype.is_floating_point else str(integer_beyond(problem.case, name))
    lines = _strided(name, problem, view, width, "" if beyond == "-1" else beyond)
    if view.dtype.is_floating_point and has_garbage_background(problem.case, filled_whole=True):
        return [*lines, _spoiled(name, LARGE), f"{name}.copy_({values})"]
    together = f"{lines[0]}.copy_({values})"
    return [together] if len(lines) == 1 and len(together) <= width else [*lines, f"{name}.copy_({values})"]


def _strided(name: str, problem: Problem, view: Tensor, width: int, bits: str = "", buffer: str = "") -> list[str]:
    memory = problem.buffers[buffer or name]
    offset, elements = int(view.storage_offset()) - memory.guard, len(memory.storage) - 2 * memory.guard
    arguments = [str(tuple(view.shape)), str(view.stride()), str(offset), str(elements), str(view.dtype), bits]
    return wrapped(f"{name} = strided(", arguments[: 6 if bits else 5], width)
