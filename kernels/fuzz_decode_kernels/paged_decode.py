"""Split-K paged decode attention that honours every stride it is given.

Stage 1 gives each (split of the tokens, sequence, KV head, tile of its query rows) one program, which walks its tokens in tiles
with an online softmax (Milakov & Gimelshein 2018) and leaves an unnormalised partial and its log-sum-exp. Stage 2 merges the
splits (flash-decoding); where there is one split, stage 1 finishes the rows itself. Splits without a visible token are neutral:
lse = -inf, partial 0. The query rows of a KV head are its query heads, for each of the sequence's query tokens.

Three rules make it safe on any view of a cache: a token's address is block * stride(0) + slot * stride(1) + head * stride(2) +
dim * stride(3) in int64, each stride as passed; nothing beyond a sequence's visible tokens, heads and dims is loaded; and no
split, table row or scratch row is sized by anything but the arguments.

What it compiles for (docs/performance.md): dtypes, powers of two of the head dims, whether rows are loaded in vectors of 16
bytes (VEC: only where strides and addresses prove that it may), whether V is the front of K's rows, whether slopes are given.

Vocabulary: i_ index, o_ offsets, m_ mask, b_ block of values, s_ stride. Strides stand one tensor a row in the signatures, and
each is int64.
"""

import functools

import torch
import triton
import triton.language as tl
from triton.language.extra import cuda

# programmatic dependent launch: the merging programs start while the last splits run; Triton has it from 3.4 on
_launch_dependents = getattr(cuda, "gdc_launch_dependents", None)
_wait_for_splits = getattr(cuda, "gdc_wait", None)

# not specialised, so that neither a layout nor a length compiles a new variant
POINTERS = ("q", "k_cache", "v_cache", "block_table", "out")
SIZES = ("q_len", "num_kv_heads", "group", "head_dim", "value_head_dim", "block_size")
SCALARS = (*SIZES, "window", "num_tiles", "split_len", "num_splits", "num_seqs")
STRIDES = ("s_qb", "s_qh", "s_qd", "s_kb", "s_ks", "s_kh", "s_kd", "s_vb", "s_vs", "s_vh", "s_vd", "s_tb", "s_tc")
OUT_STRIDES = ("s_ob", "s_oh", "s_od")


@triton.jit
def _dot(b_rows, b_matrix, PRECISION: tl.constexpr):
    """[H, N] @ [N, M]: on tensor cores, whose smallest operand has 16 rows; a single row as a sum of products."""
    if b_rows.shape[0] > 1:
        b_product = tl.dot(b_rows, b_matrix, input_precision=PRECISION)
    else:
        b_product = tl.sum(tl.trans(b_rows).to(tl.float32) * b_matrix.to(tl.float32), axis=0)[None, :]
    return b_product


@triton.jit
def _finish_rows(
    b_max, b_sum, b_out, i_row, m_row, sinks, out, lse, num_q_heads, value_head_dim, s_ob, s_oh, s_od, BLOCK_DV: tl.constexpr
):
    """Rows whose splits are all in: the sink, the division by the sum, and the stores."""
    if sinks is not None:
        # one more term below the line, but for rows that see nothing
        b_sink = tl.load(sinks + i_row % num_q_heads, mask=m_row, other=float("-inf"))
        b_sink = tl.where(b_max == float("-inf"), float("-inf"), b_sink)
        b_new = tl.maximum(b_max, b_sink)
        b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_rescale = tl.exp(b_max - b_pivot)
        b_sum = b_sum * b_rescale + tl.exp(b_sink - b_pivot)
        b_out = b_out * b_rescale[:, None]
        b_max = b_new

    o_dv = tl.arange(0, BLOCK_DV).to(tl.int64)
    m_o = m_row[:, None] & (o_dv < value_head_dim)[None, :]
    b_out = b_out / tl.where(b_sum > 0.0, b_sum, 1.0)[:, None]
    p_out = out + ((i_row // num_q_heads) * s_ob + (i_row % num_q_heads) * s_oh)[:, None] + o_dv[None, :] * s_od
    tl.store(p_out, b_out.to(out.dtype.element_ty), mask=m_o)
    tl.store(lse + i_row, b_max + tl.log(b_sum), mask=m_row)


@triton.jit(do_not_specialize=[*POINTERS, *SCALARS, *STRIDES, *OUT_STRIDES])
def _attend_split(
    q, k_cache, v_cache, block_table, seq_lens, alibi_slopes, sinks, partial_out, partial_lse, out, lse,
    scale, v_scale, softcap, window: tl.int32, q_len: tl.int32,
    num_kv_heads: tl.int32, group: tl.int32, head_dim: tl.int32, value_head_dim: tl.int32, block_size: tl.int32,
    num_seqs: tl.int32, num_tiles: tl.int32, split_len: tl.int32, num_splits: tl.int32,
    s_qb: tl.int64, s_qh: tl.int64, s_qd: tl.int64,
    s_kb: tl.int64, s_ks: tl.int64, s_kh: tl.int64, s_kd: tl.int64,
    s_vb: tl.int64, s_vs: tl.int64, s_vh: tl.int64, s_vd: tl.int64,
    s_tb: tl.int64, s_tc: tl.int64,
    s_ob: tl.int64, s_oh: tl.int64, s_od: tl.int64,
    BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_DV: tl.constexpr, TILE: tl.constexpr,
    VEC: tl.constexpr, V_IN_K: tl.constexpr, WIDEN: tl.constexpr, PRECISION: tl.constexpr, STAGES: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    if PDL:
        _launch_dependents()
    # one grid axis, so that no batch is too large for a launch (FlashInfer issue 3125); splits outermost: long sequences last
    pid = tl.program_id(0)
    i_tile = pid % num_tiles
    pid //= num_tiles
    i_kv = pid % num_kv_heads
    pid //= num_kv_heads
    i_seq = pid % num_seqs
    i_split = pid // num_seqs

    o_row = i_tile * BLOCK_H + tl.arange(0, BLOCK_H)
    o_d = tl.arange(0, BLOCK_D).to(tl.int64)
    o_dv = tl.arange(0, BLOCK_DV).to(tl.int64)
    m_row = o_row < q_len * group
    i_query = o_row // group
    i_head = i_kv * group + o_row % group
    i_packed = i_seq * q_len + i_query

    # a query token sees those up to itself; seq_len counts the query tokens, too
    num_seen = tl.load(seq_lens + i_seq) - q_len + 1
    row_last = num_seen + i_query
    row_first = row_last - window
    first_query = i_tile * BLOCK_H // group
    last_query = tl.minimum((i_tile * BLOCK_H + BLOCK_H - 1) // group, q_len - 1)
    first = tl.maximum(num_seen + first_query - window, 0) + i_split * split_len
    last = tl.minimum(first + split_len, num_seen + last_query)

    if VEC > 1:
        # rows are whole vectors of 16 bytes, and the compiler must see that no mask ends within one
        s_kd, s_vd = 1, 1
        head_dim = head_dim // VEC * VEC
        value_head_dim = value_head_dim // VEC * VEC
    m_d = o_d < head_dim
    m_dv = o_dv < value_head_dim

    o_tile = tl.arange(0, TILE)
    p_table = block_table + i_seq * s_tb
    p_k_head = k_cache + i_kv * s_kh + o_d[:, None] * s_kd
    p_v_head = v_cache + i_kv * s_vh + o_dv[None, :] * s_vd
    m_k = m_d[:, None]
    m_v = m_dv[None, :]

    # [BLOCK_H, BLOCK_D]
    p_q = q + (i_packed.to(tl.int64) * s_qb + i_head * s_qh)[:, None]
    b_q = tl.load(p_q + o_d[None, :] * s_qd, mask=m_row[:, None] & m_d[None, :], other=0.0)
    if WIDEN:
        b_q = b_q.to(tl.float32)
    if BLOCK_E > 0:
        # dims beyond the largest block, as in MLA's 512 + 64
        o_e = BLOCK_D + tl.arange(0, BLOCK_E).to(tl.int64)
        m_e = o_e < head_dim
        p_e_head = k_cache + i_kv * s_kh + o_e[:, None] * s_kd
        b_qe = tl.load(p_q + o_e[None, :] * s_qd, mask=m_row[:, None] & m_e[None, :], other=0.0).to(b_q.dtype)
    if alibi_slopes is not None:
        b_slope = tl.load(alibi_slopes + i_head, mask=m_row, other=0.0)

    b_max = tl.full([BLOCK_H], float("-inf"), tl.float32)
    b_sum = tl.full([BLOCK_H], 0.0, tl.float32)
    b_out = tl.full([BLOCK_H, BLOCK_DV], 0.0, tl.float32)
    for i_t in tl.range(first, last, TILE, num_stages=STAGES):
        o_t = i_t + o_tile
        m_t = o_t < last
        o_s = o_t % block_size
        i_block = tl.load(p_table + (o_t // block_size) * s_tc, mask=m_t, other=0).to(tl.int64)

        # [BLOCK_D, TILE]
        o_k = (i_block * s_kb + o_s * s_ks)[None, :]
        p_k = p_k_head + o_k
        if VEC > 1:
            p_k = tl.multiple_of(p_k, (16, 1))
        b_k = tl.load(p_k, mask=m_k & m_t[None, :], other=0.0)
        # [TILE, BLOCK_DV]
        if V_IN_K:
            b_v = tl.trans(b_k)
        else:
            p_v = p_v_head + (i_block * s_vb + o_s * s_vs)[:, None]
            if VEC > 1:
                p_v = tl.multiple_of(p_v, (1, 16))
            b_v = tl.load(p_v, mask=m_t[:, None] & m_v, other=0.0)
        # exact: every float8 is a number of each wider format
        b_k = b_k.to(b_q.dtype)
        b_v = b_v.to(b_q.dtype)

        # [BLOCK_H, TILE]
        b_s = _dot(b_q, b_k, PRECISION)
        if BLOCK_E > 0:
            p_e = p_e_head + o_k
            if VEC > 1:
                p_e = tl.multiple_of(p_e, (16, 1))
            b_e = tl.load(p_e, mask=m_e[:, None] & m_t[None, :], other=0.0)
            b_s += _dot(b_qe, b_e.to(b_q.dtype), PRECISION)
        b_s *= scale
        if softcap > 0.0:
            # tanh that saturates instead of overflowing: exp = inf gives -1 (vLLM PR 56579)
            b_s = softcap * (2.0 / (1.0 + tl.exp(-2.0 * b_s / softcap)) - 1.0)
        if alibi_slopes is not None:
            b_s += b_slope[:, None] * (o_t[None, :] - row_last[:, None] + 1).to(tl.float32)
        m_s = m_t[None, :] & (o_t[None, :] < row_last[:, None]) & (o_t[None, :] >= row_first[:, None])
        b_s = tl.where(m_s, b_s, float("-inf"))

        # while a row has seen no token its maximum is -inf, and -inf - -inf is NaN
        b_new = tl.maximum(b_max, tl.max(b_s, axis=1))
        b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_rescale = tl.exp(b_max - b_pivot)
        b_p = tl.exp(b_s - b_pivot[:, None])
        b_sum = b_sum * b_rescale + tl.sum(b_p, axis=1)
        b_out = b_out * b_rescale[:, None] + _dot(b_p.to(b_v.dtype), b_v, PRECISION)
        b_max = b_new

    b_out = b_out * v_scale
    i_row = i_packed * (num_kv_heads * group) + i_head
    if num_splits == 1:
        _finish_rows(
            b_max, b_sum, b_out, i_row, m_row, sinks, out, lse,
            num_kv_heads * group, value_head_dim, s_ob, s_oh, s_od, BLOCK_DV,
        )  # fmt: skip
    else:
        # an empty split reports log(0) = -inf and a partial of 0
        b_lse = b_max + tl.log(b_sum)
        b_out = b_out / tl.where(b_sum > 0.0, b_sum, 1.0)[:, None]
        i_part = i_row.to(tl.int64) * num_splits + i_split
        tl.store(partial_lse + i_part, b_lse, mask=m_row)
        tl.store(partial_out + i_part[:, None] * value_head_dim + o_dv[None, :], b_out, mask=m_row[:, None] & m_v)


@triton.jit(do_not_specialize=["out", "num_rows", "num_q_heads", "value_head_dim", "num_splits", *OUT_STRIDES])
def _merge_splits(
    partial_out, partial_lse, sinks, out, lse,
    num_rows: tl.int32, num_q_heads: tl.int32, value_head_dim: tl.int32, num_splits: tl.int32,
    s_ob: tl.int64, s_oh: tl.int64, s_od: tl.int64,
    BLOCK_R: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_DV: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    if PDL:
        _wait_for_splits()
    i_row = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    o_split = tl.arange(0, BLOCK_S)
    o_dv = tl.arange(0, BLOCK_DV).to(tl.int64)
    m_row = i_row < num_rows
    m_dv = o_dv < value_head_dim

    b_max = tl.full([BLOCK_R], float("-inf"), tl.float32)
    b_sum = tl.full([BLOCK_R], 0.0, tl.float32)
    b_out = tl.full([BLOCK_R, BLOCK_DV], 0.0, tl.float32)
    for i_first in range(0, num_splits, BLOCK_S):
        # [BLOCK_R, BLOCK_S] and [BLOCK_R, BLOCK_S, BLOCK_DV]
        i_part = i_row.to(tl.int64)[:, None] * num_splits + i_first + o_split[None, :]
        m_part = m_row[:, None] & (i_first + o_split < num_splits)[None, :]
        b_lse = tl.load(partial_lse + i_part, mask=m_part, other=float("-inf"))
        p_part = partial_out + i_part[:, :, None] * value_head_dim + o_dv[None, None, :]
        b_part = tl.load(p_part, mask=m_part[:, :, None] & m_dv[None, None, :], other=0.0)
        b_new = tl.maximum(b_max, tl.max(b_lse, axis=1))
        # while no split had a token the maximum is -inf, and -inf - -inf is NaN
        b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_rescale = tl.exp(b_max - b_pivot)
        b_weight = tl.exp(b_lse - b_pivot[:, None])
        b_sum = b_sum * b_rescale + tl.sum(b_weight, axis=1)
        b_out = b_out * b_rescale[:, None] + tl.sum(b_part * b_weight[:, :, None], axis=1)
        b_max = b_new
    _finish_rows(b_max, b_sum, b_out, i_row, m_row, sinks, out, lse, num_q_heads, value_head_dim, s_ob, s_oh, s_od, BLOCK_DV)


def paged_decode(
    q, k_cache, v_cache, block_table, seq_lens, scale, *, out=None,
    window=None, softcap=None, alibi_slopes=None, sinks=None, k_scale=None, v_scale=None, q_len=1,
):  # fmt: skip
    """Attention of the last `q_len` tokens of each sequence over a paged KV cache.

    q            [num_seqs * q_len, num_q_heads, head_dim] float32, float16 or bfloat16, any strides; a sequence's tokens in order
    k_cache      [num_blocks, block_size, num_kv_heads, head_dim] of q's dtype or float8_e4m3fn or float8_e5m2, any strides
    v_cache      [num_blocks, block_size, num_kv_heads, value_head_dim] of k_cache's dtype, any strides
    block_table  [num_seqs, width] int32, any strides; only entries of visible tokens are read
    seq_lens     [num_seqs] int32, contiguous, query tokens included; at most width * block_size
    out          [num_seqs * q_len, num_q_heads, value_head_dim] or None: write here instead of into a new tensor
    window       only the last `window` tokens up to a query token are visible to it
    softcap      scores become softcap * tanh(score / softcap)
    alibi_slopes [num_q_heads] float32: slope * (key position - query position) is added to the scores
    sinks        [num_q_heads] float32: a logit beside the scores that has no value
    k_scale, v_scale  floats: what the numbers in the caches are multiplied by

    Returns (out, lse): lse is the natural-log LSE, the sink included, float32 [num_seqs * q_len, num_q_heads]. A row that sees
    no token gives out = 0, lse = -inf. No device synchronisation: the number of splits comes from the table's width.
    """
    num_rows, num_q_heads, head_dim = q.shape
    _, block_size, num_kv_heads, value_head_dim = v_cache.shape
    num_seqs = seq_lens.shape[0]
    group = num_q_heads // num_kv_heads
    interpreted = q.device.type == "cpu"
    pdl = not interpreted and _has_dependent_launch(q.device)
    block_h = _rows_of_program(q_len * group, interpreted)
    block_d, block_e = _blocks_of_dims(head_dim)
    block_dv = max(16, triton.next_power_of_2(value_head_dim))
    num_tiles = triton.cdiv(q_len * group, block_h)
    max_len = block_table.shape[1] * block_size
    window = min(window or max_len, max_len)
    v_in_k = value_head_dim == block_d and _same_place(k_cache, v_cache)
    tile, stages, options = _shape_of_program((block_d + block_e + block_dv) * q.element_size(), interpreted)
    # no tile of query rows sees more tokens
    num_splits, split_len = _splits(
        min(max_len, window + q_len - 1), num_seqs * num_kv_heads * num_tiles, tile, _programs_wanted(q.device)
    )

    if out is None:
        out = torch.empty(num_rows, num_q_heads, value_head_dim, dtype=q.dtype, device=q.device)
    lse = torch.empty(num_rows, num_q_heads, dtype=torch.float32, device=q.device)
    partial_out = torch.empty(num_rows, num_q_heads, num_splits, value_head_dim, dtype=torch.float32, device=q.device)
    partial_lse = torch.empty(num_rows, num_q_heads, num_splits, dtype=torch.float32, device=q.device)
    _attend_split[(num_splits * num_seqs * num_kv_heads * num_tiles,)](
        q, k_cache, v_cache, block_table, seq_lens, alibi_slopes, sinks, partial_out, partial_lse, out, lse,
        float(scale) * float(k_scale or 1.0), float(v_scale or 1.0), float(softcap or 0.0), window, q_len,
        num_kv_heads, group, head_dim, value_head_dim, block_size, num_seqs, num_tiles, split_len, num_splits,
        *q.stride(),
        *k_cache.stride(),
        *v_cache.stride(),
        *block_table.stride(),
        *out.stride(),
        BLOCK_H=block_h,
        BLOCK_D=block_d,
        BLOCK_E=block_e,
        BLOCK_DV=block_dv,
        TILE=tile,
        VEC=_vector(k_cache, v_cache),
        V_IN_K=v_in_k,
        WIDEN=interpreted,  # the interpreter computes bfloat16 on its bit patterns
        PRECISION="tf32x3" if q.is_cuda and torch.version.hip is None else "ieee",
        STAGES=stages,
        PDL=pdl,
        **options,
    )  # fmt: skip
    if num_splits > 1:
        block_r, block_s = (16, 8) if interpreted else (1, 64 if num_splits > 16 and block_dv <= 256 else 16)
        _merge_splits[(triton.cdiv(num_rows * num_q_heads, block_r),)](
            partial_out, partial_lse, sinks, out, lse,
            num_rows * num_q_heads, num_q_heads, value_head_dim, num_splits,
            *out.stride(),
            BLOCK_R=block_r,
            BLOCK_S=block_s,
            BLOCK_DV=block_dv,
            PDL=pdl,
            **({"launch_pdl": True} if pdl else {}),
        )  # fmt: skip
    return out, lse


def _rows_of_program(rows, interpreted):
    """Query rows of one program."""
    if rows == 1:
        return 1
    return 64 if rows >= 64 and not interpreted else 16


def _blocks_of_dims(head_dim):
    """A power of two that holds the dims, and one for those beyond 512."""
    if head_dim <= 512:
        return max(16, triton.next_power_of_2(head_dim)), 0
    return 512, max(16, triton.next_power_of_2(head_dim - 512))


def _vector(*caches):
    """How many elements of a row are loaded at once: 16 bytes of them where every row is made of such vectors, else 1."""
    vec = 16 // caches[0].element_size()
    for cache in caches:
        steps = [stride for size, stride in zip(cache.shape[:3], cache.stride()[:3], strict=True) if size > 1]
        if cache.data_ptr() % 16 or cache.stride(3) != 1 or any(step % vec for step in [cache.shape[3], *steps]):
            return 1
    return vec


def _same_place(k_cache, v_cache):
    """Whether V is the front of K's rows."""
    return k_cache.data_ptr() == v_cache.data_ptr() and k_cache.stride() == v_cache.stride()


def _shape_of_program(row_bytes, interpreted):
    """Tokens per step, and compile options, for `row_bytes` of one token's K and V: what fits into shared memory."""
    if interpreted:
        return 32, 1, {}
    if row_bytes <= 1024:
        return 64, 4, {"num_warps": 2}
    if row_bytes <= 2048:
        return 32, 3, {"num_warps": 4}
    return 16, 1, {"num_warps": 8}


def _splits(max_len, rows, tile, programs):
    """How many splits of how many tokens: enough programs to fill the device, splits of whole tiles."""
    tiles = triton.cdiv(max_len, tile)
    num_splits = max(1, min(tiles, triton.cdiv(programs, rows)))
    split_len = triton.cdiv(tiles, num_splits) * tile
    return triton.cdiv(max_len, split_len), split_len


def _programs_wanted(device):
    return 8 * torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 6


@functools.cache
def _has_dependent_launch(device):
    return bool(_wait_for_splits) and torch.version.hip is None and torch.cuda.get_device_capability(device) >= (9, 0)
