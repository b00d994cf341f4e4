"""A kernel that only reads, to measure the read bandwidth of memory.

A fixed number of programs walk a tensor in strides of all programs, a block at a time. int32 in contiguous blocks makes every
load 16 bytes a thread; the sums keep the compiler from removing the loads.
"""

import triton
import triton.language as tl


@triton.jit
def _read_all(source, sums, num_elements: tl.int32, BLOCK: tl.constexpr, STAGES: tl.constexpr):
    i_program = tl.program_id(0)
    o_block = tl.arange(0, BLOCK)
    b_sum = tl.zeros([BLOCK], tl.int32)
    for start in tl.range(i_program * BLOCK, num_elements, tl.num_programs(0) * BLOCK, num_stages=STAGES):
        b_sum += tl.load(source + start + o_block)
    tl.store(sums + i_program, tl.sum(b_sum))


def read_all(source, sums, *, block, warps, stages):
    """Read all of `source`, int32 and contiguous, of fewer than 2**30 elements, a multiple of `block`, with as many programs as
    `sums` has elements; each leaves its sum there, int32 with overflow."""
    _read_all[(sums.numel(),)](source, sums, source.numel(), BLOCK=block, STAGES=stages, num_warps=warps)
