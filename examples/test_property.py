"""A property test of your own: Hypothesis draws decode problems, and shrinks what fails, in your test suite.

python examples/test_property.py
pytest examples/test_property.py
"""

from __future__ import annotations

import functools

import torch
from hypothesis import given, settings
from torch import Tensor

from fuzz_decode import Case, check, decode_cases


def decode(q: Tensor, k_cache: Tensor, v_cache: Tensor, block_table: Tensor, seq_lens: Tensor, scale: float) -> Tensor:
    """The function under test: gathers the pages, then calls torch's attention."""
    group, out = q.shape[1] // k_cache.shape[2], q.new_zeros(*q.shape[:2], v_cache.shape[3])
    for seq, length in enumerate(seq_lens.tolist()):
        token = torch.arange(length)
        block, slot = block_table[seq, token // k_cache.shape[1]].long(), token % k_cache.shape[1]
        k, v = (cache[block, slot].transpose(0, 1).repeat_interleave(group, 0) for cache in (k_cache, v_cache))
        out[seq] = torch.nn.functional.scaled_dot_product_attention(q[seq, :, None], k, v, scale=scale)[:, 0]
    return out


@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=decode_cases(dtypes=("float32",), block_sizes=(16, 32), options=(), min_seq_len=1, max_seq_len=200, huge_spans=False))
def test_decode(case: Case) -> None:
    """`options=()`: none of the optional parameters. A partial runs in this process, which is quick; a function in a child."""
    result = check(functools.partial(decode), case, device="cpu")
    assert result, str(result)


if __name__ == "__main__":
    test_decode()
    print("30 examples passed")
