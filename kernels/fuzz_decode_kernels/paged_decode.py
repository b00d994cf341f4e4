"""Split-K paged decode attention that honours every stride it is given.

Stage 1 divides the visible tokens of a batch, in tiles, evenly among programs, however ragged its sequences are (stream-K,
Osama et al. 2023): each (share of the tiles, KV head, block of its query rows) has one program, which goes from sequence to
sequence with an online softmax (Milakov & Gimelshein 2018) and leaves for each a partial and its log-sum-exp. Stage 2 merges the
parts of a sequence (flash-decoding) and the sink. The query rows of a KV head are its query heads, for each of the sequence's
query tokens.

Three rules make it safe on any view of a cache: a token's address is block * stride(0) + slot * stride(1) + head * stride(2) +
dim * stride(3) in int64, each stride as passed; nothing beyond a sequence's visible tokens, heads and dims is loaded; and no
share, table row or scratch row is sized by anything but the arguments.

It compiles for dtypes, powers of two of the head dims, whether rows are contiguous (DENSE) and can be loaded in vectors of 16
bytes (VEC: only where addresses and strides prove it), whether V is the front of K's rows, whether there are slopes and sinks.

Vocabulary: i_ index, o_ offsets, m_ mask, b_ block of values, s_ stride. Strides stand one tensor a row in the signatures, and
each is int64.
"""

import torch
import triton
import triton.language as tl

BLOCK_B = tl.constexpr(128)  # sequences that are looked at at once

# padded dims of a token's K and V, where V lies in K's rows of K alone, and bytes of an element, at most: tokens per step, warps,
# stages, programs per multiprocessor. Measured on an H100 (docs/evaluation/performance.md)
SHAPES = (
    (128, 2, 128, 4, 3, 2),
    (128, 4, 64, 2, 2, 4),
    (256, 1, 64, 2, 3, 4),
    (256, 2, 64, 4, 3, 2),
    (256, 4, 32, 2, 2, 4),
    (512, 1, 32, 2, 3, 4),
    (512, 2, 64, 4, 2, 2),
    (576, 1, 128, 8, 2, 1),
    (576, 2, 64, 8, 3, 1),
    (2**20, 4, 32, 4, 2, 2),
)

# not specialised, so that neither a layout nor a length compiles a new variant
POINTERS = ("q", "k_cache", "v_cache", "block_table")
SIZES = ("q_len", "num_kv_heads", "group", "head_dim", "value_head_dim", "block_size", "num_seqs", "num_row_blocks", "num_shares")
STRIDES = ("s_qb", "s_qh", "s_qd", "s_kb", "s_ks", "s_kh", "s_kd", "s_vb", "s_vs", "s_vh", "s_vd", "s_tb", "s_tc")
OUT_STRIDES = ("s_ob", "s_oh", "s_od")


@triton.jit
def _visible(num_seen, i_rows, group, q_len, window, BLOCK_H: tl.constexpr):
    """What the query rows of a block see of sequences of which their first query token sees `num_seen` tokens: from, to."""
    first_query = i_rows * BLOCK_H // group
    last_query = tl.minimum((i_rows * BLOCK_H + BLOCK_H - 1) // group, q_len - 1)
    first = tl.maximum(num_seen + first_query - window, 0)
    return first, tl.maximum(num_seen + last_query, first)


@triton.jit
def _tiles_of(seq_lens, o_seq, num_seqs, i_rows, group, q_len, window, BLOCK_H: tl.constexpr, TILE: tl.constexpr):
    """How many tiles of tokens sequences have for a block of query rows."""
    # a query token sees those up to itself; seq_len counts the query tokens, too
    num_seen = tl.load(seq_lens + o_seq, mask=o_seq < num_seqs, other=0) - q_len + 1
    first, last = _visible(num_seen, i_rows, group, q_len, window, BLOCK_H)
    return (last - first + TILE - 1) // TILE


@triton.jit
def _tiles_of_all(seq_lens, num_seqs, i_rows, group, q_len, window, BLOCK_H: tl.constexpr, TILE: tl.constexpr):
    """How many tiles all sequences have together."""
    tiles = 0
    for i_first in range(0, num_seqs, BLOCK_B):
        o_seq = i_first + tl.arange(0, BLOCK_B)
        tiles += tl.sum(_tiles_of(seq_lens, o_seq, num_seqs, i_rows, group, q_len, window, BLOCK_H, TILE))
    return tiles


@triton.jit
def _sequence_of(seq_lens, num_seqs, i_tile, i_rows, group, q_len, window, BLOCK_H: tl.constexpr, TILE: tl.constexpr):
    """The sequence that tile `i_tile` of all belongs to, and how many there are before that sequence."""
    i_seq, before, seen = 0, 0, 0
    for i_first in range(0, num_seqs, BLOCK_B):
        o_seq = i_first + tl.arange(0, BLOCK_B)
        b_tiles = _tiles_of(seq_lens, o_seq, num_seqs, i_rows, group, q_len, window, BLOCK_H, TILE)
        b_end = seen + tl.cumsum(b_tiles)
        i_seq += tl.sum((b_end <= i_tile).to(tl.int32))
        before = tl.maximum(before, tl.max(tl.where(b_end <= i_tile, b_end, 0)))
        seen += tl.sum(b_tiles)
    return i_seq, before


@triton.jit
def _places_of(p_table, o_t, last, block_size, s_tc, LANES: tl.constexpr):
    """The blocks that tokens lie in, and their slots there. The last token stands for those from `last` on, too, so that no load
    of a row needs a mask.

    One of LANES lanes looks a token up, and there are as many as threads: with fewer the compiler would have every thread look
    up each row that it loads from.
    """
    o_t = tl.minimum(o_t, last - 1)
    o_lane = tl.arange(0, LANES)
    p_block = p_table + (o_t // block_size) * s_tc
    m_lane = (o_t >= 0)[:, None] & (o_lane == 0)[None, :]
    i_block = tl.sum(tl.load(p_block[:, None] + o_lane[None, :], mask=m_lane, other=0), axis=1)
    return i_block, o_t % block_size


@triton.jit(do_not_specialize=[*POINTERS, *SIZES, "window", *STRIDES])
def _attend_share(
    q, k_cache, v_cache, block_table, seq_lens, alibi_slopes, parts, partial_out, partial_lse,
    scale, v_scale, softcap, window: tl.int32, q_len: tl.int32,
    num_kv_heads: tl.int32, group: tl.int32, head_dim: tl.int32, value_head_dim: tl.int32, block_size: tl.int32,
    num_seqs: tl.int32, num_row_blocks: tl.int32, num_shares: tl.int32,
    s_qb: tl.int64, s_qh: tl.int64, s_qd: tl.int64,
    s_kb: tl.int64, s_ks: tl.int64, s_kh: tl.int64, s_kd: tl.int64,
    s_vb: tl.int64, s_vs: tl.int64, s_vh: tl.int64, s_vd: tl.int64,
    s_tb: tl.int64, s_tc: tl.int64,
    BLOCK_H: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_E: tl.constexpr, BLOCK_DV: tl.constexpr, TILE: tl.constexpr,
    DENSE: tl.constexpr, VEC: tl.constexpr, UNIT: tl.constexpr, V_IN_K: tl.constexpr, HALF: tl.constexpr, WIDEN: tl.constexpr,
    PRECISION: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    # one grid axis, so that no batch is too large for a launch (FlashInfer issue 3125)
    pid = tl.program_id(0)
    i_rows = pid % num_row_blocks
    pid //= num_row_blocks
    # the interpreter takes a stride that fits into 32 bits for an int32, whatever the signature says
    i_kv = (pid % num_kv_heads).to(tl.int64)
    i_share = pid // num_kv_heads

    o_row = i_rows * BLOCK_H + tl.arange(0, BLOCK_H)
    o_d = tl.arange(0, BLOCK_D).to(tl.int64)
    o_dv = tl.arange(0, BLOCK_DV).to(tl.int64)
    m_row = o_row < q_len * group
    i_query = o_row // group
    i_head = i_kv * group + o_row % group
    if alibi_slopes is not None:
        b_slope = tl.load(alibi_slopes + i_head, mask=m_row, other=0.0)

    if DENSE:
        s_qd, s_kd, s_vd = 1, 1, 1
    if VEC > 1:
        # rows are whole vectors of 16 bytes, and the compiler must see that no mask ends within one
        head_dim = head_dim // VEC * VEC
        value_head_dim = value_head_dim // VEC * VEC
    if UNIT > 1:
        # counted in vectors, offsets within a cache fit into 32 bits
        s_kb, s_ks = (s_kb // UNIT).to(tl.int32), (s_ks // UNIT).to(tl.int32)
        s_vb, s_vs = (s_vb // UNIT).to(tl.int32), (s_vs // UNIT).to(tl.int32)
    o_tile = tl.arange(0, TILE)
    p_k_head = k_cache + i_kv * s_kh + o_d[None, :] * s_kd
    p_v_head = v_cache + i_kv * s_vh + o_dv[None, :] * s_vd
    m_d = o_d < head_dim
    m_k = m_d[None, :]
    m_v = (o_dv < value_head_dim)[None, :]
    if BLOCK_E > 0:
        # dims beyond the largest block, as in MLA's 512 + 64
        o_e = BLOCK_D + tl.arange(0, BLOCK_E).to(tl.int64)
        m_e = o_e < head_dim
        p_e_head = k_cache + i_kv * s_kh + o_e[None, :] * s_kd

    total = _tiles_of_all(seq_lens, num_seqs, i_rows, group, q_len, window, BLOCK_H, TILE)
    num_shares = tl.maximum(tl.minimum(num_shares, total), 1)
    i_tile = (total.to(tl.int64) * i_share // num_shares).to(tl.int32)
    end = tl.minimum((total.to(tl.int64) * (i_share + 1) // num_shares).to(tl.int32), total)
    i_seq, before = _sequence_of(seq_lens, num_seqs, i_tile, i_rows, group, q_len, window, BLOCK_H, TILE)
    while i_tile < end:
        num_seen = tl.load(seq_lens + i_seq) - q_len + 1
        seq_first, seq_last = _visible(num_seen, i_rows, group, q_len, window, BLOCK_H)
        num_tiles = (seq_last - seq_first + TILE - 1) // TILE
        first = seq_first + (i_tile - before) * TILE
        last = tl.minimum(seq_first + (end - before) * TILE, seq_last)
        row_last = num_seen + i_query
        row_first = row_last - window
        row_end = tl.minimum(row_last, last)
        i_packed = i_seq * q_len + i_query
        p_table = block_table + i_seq * s_tb

        # [BLOCK_H, BLOCK_D]
        p_q = q + (i_packed.to(tl.int64) * s_qb + i_head * s_qh)[:, None]
        p_d = p_q + o_d[None, :] * s_qd
        if VEC > 1:
            p_d = tl.multiple_of(p_d, (1, 16))
        b_q = tl.load(p_d, mask=m_row[:, None] & m_d[None, :], other=0.0)
        if BLOCK_E > 0:
            b_qe = tl.load(p_q + o_e[None, :] * s_qd, mask=m_row[:, None] & m_e[None, :], other=0.0)
        if HALF:
            # float8 becomes float16 in one instruction, bfloat16 in four; each row times a power of two, so that it fits
            b_top = tl.max(tl.abs(b_q.to(tl.float32)), axis=1)
            if BLOCK_E > 0:
                b_top = tl.maximum(b_top, tl.max(tl.abs(b_qe.to(tl.float32)), axis=1))
            b_bits = tl.maximum(b_top.to(tl.int32, bitcast=True) & 0x7F800000, 14 << 23)
            b_bits = (254 << 23) - b_bits + (13 << 23)
            b_power = b_bits.to(tl.float32, bitcast=True)[:, None]
            b_scale = ((254 << 23) - b_bits).to(tl.float32, bitcast=True) * scale
            b_q = (b_q.to(tl.float32) * b_power).to(tl.float16)
            if BLOCK_E > 0:
                b_qe = (b_qe.to(tl.float32) * b_power).to(tl.float16)
        else:
            b_scale = tl.full([BLOCK_H], 1.0, tl.float32) * scale
        if WIDEN:
            b_q = b_q.to(tl.float32)

        b_max = tl.full([BLOCK_H], float("-inf"), tl.float32)
        b_sum = tl.full([BLOCK_H], 0.0, tl.float32)
        b_out = tl.full([BLOCK_H, BLOCK_DV], 0.0, tl.float32)
        i_block, o_s = _places_of(p_table, first + o_tile, last, block_size, s_tc, LANES)
        for i_t in range(first, last, TILE):
            o_t = i_t + o_tile
            if UNIT == 1:
                i_block = i_block.to(tl.int64)
                o_s = o_s.to(tl.int64)

            # [TILE, BLOCK_D]
            o_k = (i_block * s_kb + o_s * s_ks).to(tl.int64) * UNIT
            p_k = p_k_head + o_k[:, None]
            if VEC > 1:
                p_k = tl.multiple_of(p_k, (1, 16))
            b_k = tl.load(p_k, mask=m_k, other=0.0)
            # [TILE, BLOCK_DV]
            if V_IN_K:
                b_v = b_k
            else:
                o_v = (i_block * s_vb + o_s * s_vs).to(tl.int64) * UNIT
                p_v = p_v_head + o_v[:, None]
                if VEC > 1:
                    p_v = tl.multiple_of(p_v, (1, 16))
                b_v = tl.load(p_v, mask=m_v, other=0.0)
            # exact: every float8 is a number of each wider format
            b_k = b_k.to(b_q.dtype)
            b_v = b_v.to(b_q.dtype)

            # [BLOCK_H, TILE]
            b_s = tl.dot(b_q, tl.trans(b_k), input_precision=PRECISION)
            if BLOCK_E > 0:
                p_e = p_e_head + o_k[:, None]
                if VEC > 1:
                    p_e = tl.multiple_of(p_e, (1, 16))
                b_e = tl.load(p_e, mask=m_e[None, :], other=0.0)
                b_s += tl.dot(b_qe.to(b_q.dtype), tl.trans(b_e.to(b_q.dtype)), input_precision=PRECISION)
            b_s *= b_scale[:, None]
            if softcap is not None:
                # tanh that saturates instead of overflowing: exp = inf gives -1 (vLLM PR 56579)
                b_s = softcap * (2.0 / (1.0 + tl.exp(-2.0 * b_s / softcap)) - 1.0)
            if alibi_slopes is not None:
                b_s += b_slope[:, None] * (o_t[None, :] - row_last[:, None] + 1).to(tl.float32)
            m_s = (o_t[None, :] < row_end[:, None]) & (o_t[None, :] >= row_first[:, None])
            b_s = tl.where(m_s, b_s, float("-inf"))

            # while a row has seen no token its maximum is -inf, and -inf - -inf is NaN
            b_new = tl.maximum(b_max, tl.max(b_s, axis=1))
            b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)
            b_rescale = tl.exp(b_max - b_pivot)
            b_p = tl.exp(b_s - b_pivot[:, None])
            b_sum = b_sum * b_rescale + tl.sum(b_p, axis=1)
            b_out = b_out * b_rescale[:, None] + tl.dot(b_p.to(b_v.dtype), b_v, input_precision=PRECISION)
            b_max = b_new
            # ahead of the next step, whose loads need not wait for it then
            i_block, o_s = _places_of(p_table, o_t + TILE, last, block_size, s_tc, LANES)

        # a row that sees none of these tokens reports log(0) = -inf and a partial of 0
        b_lse = b_max + tl.log(b_sum)
        b_out = b_out * (v_scale / tl.where(b_sum > 0.0, b_sum, 1.0))[:, None]
        # the part that begins its sequence has the sequence's place, and tells the merge; one that goes on has the share's
        i_column = i_kv * num_row_blocks + i_rows
        num_columns = num_kv_heads * num_row_blocks
        if i_tile == before:
            last_share = (((before + num_tiles).to(tl.int64) * num_shares - 1) // total).to(tl.int32)
            p_parts = parts + (i_seq * num_columns + i_column) * 2
            tl.store(p_parts, i_share)
            tl.store(p_parts + 1, last_share)
        i_place = tl.where(i_tile == before, i_seq, num_seqs + i_share)
        i_part = (i_place * num_columns + i_column).to(tl.int64) * BLOCK_H
        o_part = tl.arange(0, BLOCK_H)
        tl.store(partial_lse + i_part + o_part, b_lse, mask=m_row)
        p_part = partial_out + i_part * BLOCK_DV
        tl.store(p_part + o_part[:, None] * BLOCK_DV + tl.arange(0, BLOCK_DV)[None, :], b_out, mask=m_row[:, None])
        before += num_tiles
        i_tile = before
        i_seq += 1


@triton.jit(do_not_specialize=["out", *SIZES, "num_pieces", "window", *OUT_STRIDES])
def _merge_shares(
    seq_lens, parts, partial_out, partial_lse, sinks, out, lse,
    window: tl.int32, q_len: tl.int32, num_kv_heads: tl.int32, group: tl.int32, value_head_dim: tl.int32,
    num_seqs: tl.int32, num_row_blocks: tl.int32, num_pieces: tl.int32,
    s_ob: tl.int64, s_oh: tl.int64, s_od: tl.int64,
    BLOCK_H: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_DV: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    i_piece = pid % num_pieces
    pid //= num_pieces
    i_kv = pid % num_kv_heads
    i_seq = pid // num_kv_heads

    i_rows = i_piece * BLOCK_R // BLOCK_H
    i_column = i_kv * num_row_blocks + i_rows
    num_columns = num_kv_heads * num_row_blocks
    # nobody tells of a sequence without tokens
    first, last = _visible(tl.load(seq_lens + i_seq) - q_len + 1, i_rows, group, q_len, window, BLOCK_H)
    p_parts = parts + (i_seq * num_columns + i_column) * 2
    first_share = tl.load(p_parts)
    num_parts = tl.where(last > first, tl.load(p_parts + 1) - first_share + 1, 0)

    o_row = i_piece * BLOCK_R + tl.arange(0, BLOCK_R)
    o_part = tl.arange(0, BLOCK_S)
    o_dv = tl.arange(0, BLOCK_DV).to(tl.int64)
    m_row = o_row < q_len * group
    m_dv = o_dv < value_head_dim
    b_max = tl.full([BLOCK_R], float("-inf"), tl.float32)
    b_sum = tl.full([BLOCK_R], 0.0, tl.float32)
    b_out = tl.full([BLOCK_R, BLOCK_DV], 0.0, tl.float32)
    for i_first in range(0, num_parts, BLOCK_S):
        # [BLOCK_R, BLOCK_S] and [BLOCK_R, BLOCK_S, BLOCK_DV]
        i_place = tl.where(i_first + o_part == 0, i_seq, num_seqs + first_share + i_first + o_part)
        i_part = (i_place * num_columns + i_column).to(tl.int64)[None, :] * BLOCK_H + (o_row % BLOCK_H)[:, None]
        m_part = m_row[:, None] & (i_first + o_part < num_parts)[None, :]
        b_lse = tl.load(partial_lse + i_part, mask=m_part, other=float("-inf"))
        p_part = partial_out + i_part[:, :, None] * BLOCK_DV + o_dv[None, None, :]
        b_part = tl.load(p_part, mask=m_part[:, :, None], other=0.0)
        b_new = tl.maximum(b_max, tl.max(b_lse, axis=1))
        # while no part had a token the maximum is -inf, and -inf - -inf is NaN
        b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_rescale = tl.exp(b_max - b_pivot)
        b_weight = tl.exp(b_lse - b_pivot[:, None])
        b_sum = b_sum * b_rescale + tl.sum(b_weight, axis=1)
        b_out = b_out * b_rescale[:, None] + tl.sum(b_part * b_weight[:, :, None], axis=1)
        b_max = b_new

    i_head = i_kv * group + o_row % group
    i_packed = (i_seq * q_len + o_row // group).to(tl.int64)
    if sinks is not None:
        # one more term below the line, but for rows that see nothing
        b_sink = tl.load(sinks + i_head, mask=m_row, other=float("-inf"))
        b_sink = tl.where(b_max == float("-inf"), float("-inf"), b_sink)
        b_new = tl.maximum(b_max, b_sink)
        b_pivot = tl.where(b_new == float("-inf"), 0.0, b_new)
        b_rescale = tl.exp(b_max - b_pivot)
        b_sum = b_sum * b_rescale + tl.exp(b_sink - b_pivot)
        b_out = b_out * b_rescale[:, None]
        b_max = b_new

    b_out = b_out / tl.where(b_sum > 0.0, b_sum, 1.0)[:, None]
    p_out = out + (i_packed * s_ob + i_head * s_oh)[:, None] + o_dv[None, :] * s_od
    tl.store(p_out, b_out.to(out.dtype.element_ty), mask=m_row[:, None] & m_dv[None, :])
    tl.store(lse + i_packed * (num_kv_heads * group) + i_head, b_max + tl.log(b_sum), mask=m_row)


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
    no token gives out = 0, lse = -inf. No device synchronisation: what depends on seq_lens is
    worked out on the device.
    """
    num_rows, num_q_heads, head_dim = q.shape
    _, block_size, num_kv_heads, value_head_dim = v_cache.shape
    num_seqs = seq_lens.shape[0]
    group = num_q_heads // num_kv_heads
    max_len = block_table.shape[1] * block_size
    window = min(window or max_len, max_len)
    interpreted = q.device.type == "cpu"
    block_d, block_e = _blocks_of_dims(head_dim)
    block_dv = max(16, triton.next_power_of_2(value_head_dim))
    vec = _vector(q, k_cache, v_cache)
    v_in_k = value_head_dim == block_d and _same_place(k_cache, v_cache)
    dims = block_d + block_e + (0 if v_in_k else block_dv)
    block_h, tile, programs, options = _shape_of_program(
        q_len * group, dims, vec, k_cache.element_size(), q.element_size(), q.device
    )
    num_row_blocks = triton.cdiv(q_len * group, block_h)
    columns = num_kv_heads * num_row_blocks
    # no block of query rows sees more tokens of a sequence
    tiles = num_seqs * triton.cdiv(min(max_len, window + q_len - 1), tile)
    num_shares = _shares(num_seqs, tiles, programs // columns)

    if out is None:
        out = torch.empty(num_rows, num_q_heads, value_head_dim, dtype=q.dtype, device=q.device)
    lse = torch.empty(num_rows, num_q_heads, dtype=torch.float32, device=q.device)
    places = (num_seqs + num_shares) * columns * block_h
    parts = torch.empty(num_seqs, columns, 2, dtype=torch.int32, device=q.device)
    partial_out = torch.empty(places, block_dv, dtype=torch.float32, device=q.device)
    partial_lse = torch.empty(places, dtype=torch.float32, device=q.device)
    _attend_share[(num_shares * num_kv_heads * num_row_blocks,)](
        q, k_cache, v_cache, block_table, seq_lens, alibi_slopes, parts, partial_out, partial_lse,
        float(scale) * float(k_scale or 1.0), float(v_scale or 1.0), float(softcap) if softcap else None, window, q_len,
        num_kv_heads, group, head_dim, value_head_dim, block_size, num_seqs, num_row_blocks, num_shares,
        *q.stride(),
        *k_cache.stride(),
        *v_cache.stride(),
        *block_table.stride(),
        BLOCK_H=block_h,
        BLOCK_D=block_d,
        BLOCK_E=block_e,
        BLOCK_DV=block_dv,
        TILE=tile,
        DENSE=all(tensor.stride(-1) == 1 for tensor in (q, k_cache, v_cache)),
        VEC=vec,
        UNIT=vec if all(_span(cache) < vec * 2**31 for cache in (k_cache, v_cache)) else 1,
        V_IN_K=v_in_k,
        HALF=q.dtype == torch.bfloat16 and k_cache.element_size() == 1,
        WIDEN=interpreted,  # the interpreter computes bfloat16 on its bit patterns
        PRECISION="tf32x3" if q.is_cuda and torch.version.hip is None else "ieee",
        LANES=max(1, 32 * options.get("num_warps", 1) // tile),
        **options,
    )  # fmt: skip
    block_r, block_s = _shape_of_merge(1 + triton.cdiv(num_shares, num_seqs), block_dv, q.device)
    num_pieces = triton.cdiv(q_len * group, block_r)
    _merge_shares[(num_seqs * num_kv_heads * num_pieces,)](
        seq_lens, parts, partial_out, partial_lse, sinks, out, lse,
        window, q_len, num_kv_heads, group, value_head_dim, num_seqs, num_row_blocks, num_pieces,
        *out.stride(),
        BLOCK_H=block_h,
        BLOCK_R=block_r,
        BLOCK_S=block_s,
        BLOCK_DV=block_dv,
    )  # fmt: skip
    return out, lse


def _blocks_of_dims(head_dim):
    """A power of two that holds the dims, and one for those beyond 512."""
    if head_dim <= 512:
        return max(16, triton.next_power_of_2(head_dim)), 0
    return 512, max(16, triton.next_power_of_2(head_dim - 512))


def _vector(q, k_cache, v_cache):
    """How many elements of a cache's row are loaded at once: 16 bytes, where all rows are made of such vectors, else 1."""
    return 16 // k_cache.element_size() if all(map(_made_of_vectors, (q, k_cache, v_cache))) else 1


def _made_of_vectors(tensor):
    """Whether its rows are contiguous, begin at multiples of 16 bytes and are as long."""
    vec = 16 // tensor.element_size()
    steps = [stride for size, stride in zip(tensor.shape[:-1], tensor.stride()[:-1], strict=True) if size > 1]
    return tensor.stride(-1) == 1 and tensor.data_ptr() % 16 == 0 and not any(step % vec for step in [tensor.shape[-1], *steps])


def _span(cache):
    """How many elements lie between a cache's first one and its last one."""
    return sum((size - 1) * stride for size, stride in zip(cache.shape, cache.stride(), strict=True))


def _same_place(k_cache, v_cache):
    """Whether V is the front of K's rows."""
    return k_cache.data_ptr() == v_cache.data_ptr() and k_cache.stride() == v_cache.stride()


def _shape_of_program(rows, dims, vec, itemsize, q_itemsize, device):
    """Query rows and tokens per step of a program, how many programs, and compile options."""
    if device.type == "cpu":
        return 16, 32, 8, {}
    properties = torch.cuda.get_device_properties(device)
    shared_memory = getattr(properties, "shared_memory_per_block_optin", 2**16)
    tile, warps, stages, programs = next(shape for most, bytes_, *shape in SHAPES if dims <= most and itemsize <= bytes_)
    # 16 is the smallest operand of a dot, 64 the smallest of Hopper's; as float32, 64 rows of 512 dims are too much to be shared
    block_h = 64 if rows >= 64 and not (q_itemsize == 4 and dims >= 512) else 16
    if block_h == 64:
        tile, warps, stages, programs = min(tile, 64), 8, 3, 1
    most = tile * dims
    if vec == 1:
        # element by element, each has an address, and all must fit into registers
        most, warps = 8192, max(4, warps)
    while tile > 16 and (tile * dims > most or ((stages - 1) * tile + 2 * block_h) * dims * itemsize > shared_memory):
        tile //= 2
    return block_h, tile, programs * properties.multi_processor_count, {"num_warps": warps, "num_stages": stages}


def _shape_of_merge(parts, block_dv, device):
    """Query rows and parts that a merging program looks at at once, where a sequence has about so many parts."""
    if device.type == "cpu":
        return 16, 8
    if parts <= 4:
        return max(1, min(16, 2048 // block_dv)), 1
    return 1, max(1, min(64, 8192 // block_dv))


def _shares(num_seqs, tiles, programs):
    """How many shares `tiles` are divided into: as many as there are programs, or fewer where sequences of one length then lie
    whole in them."""
    shares = max(1, min(tiles, programs))
    if shares >= num_seqs:
        return shares // num_seqs * num_seqs
    whole = triton.cdiv(num_seqs, triton.cdiv(num_seqs, shares))
    return whole if 10 * whole >= 9 * shares else shares
