"""Generic mutants that no case tells from the kernel, one by one, with the reason. `EQUIVALENTS` compute what the kernel computes;
what is `OUT_OF_REACH` shows on a GPU alone, or in cases larger than those that are built. generic.py refuses names that do not
exist (any more), so that whoever edits the line that one stands in looks at it again.
"""

# ruff: noqa: E501 (names are as long as they are)

from __future__ import annotations

EARLIER = "the range begins no later and at a token that the first query token sees; rows that do not are masked by row_first"
LATER = "the range ends no earlier and, by q_len - 1, with the last query token's own; rows that end before are masked by row_end"
EMPTY_RANGE = "only an empty range moves its end, to before its beginning, where it has no tile either"
MORE_SEQUENCES = "one more block of sequences at most, all masked: none of them has a tile"
ALL_ZERO = "all of them are 0"
LAST_SEQUENCE = "a last block of one sequence need not be looked at: whoever comes after all the others is that one"
OTHER_PROGRAM = "the remainder of pid + 1 runs through the same numbers, so that each still has its program, only another one"
SMALL_DIMS = "dims are below 4096, and an address multiplies them by strides or adds them to rows, which are int64"
SLOPES = "i_head is below num_q_heads in every lane, and the rows that are masked are never merged"
ONES = "where VEC is above 1 these strides are 1 as they are"
WHOLE_VECTORS = "where VEC is above 1, and it is 4 at least, rows are a multiple of it as they are"
IN_64_BITS = "an int64 in place of an int32: the same number"
WHOLE_STRIDES = "UNIT is 4 at least, and strides are multiples of it, or belong to axes of size 1, whose index is 0"
BLOCK_E = "BLOCK_E is 0, or 16 at least"
FEWER_SHARES = "fewer shares, whose programs do all, while those of the others find nothing left: this only tunes"
EMPTY_SHARE = "one share more than tiles: the first one is empty, each other has a tile, and so says last_share"
ROW_END = "a part ends with a whole tile, or where the last row of its block does: no lane lies between row_end and it"
HINT = "what is hinted at holds, and only tells the compiler how wide it may load"
BY_FLOAT = "bfloat16 times float32 is float32, too"
WIDENED = (
    "on a GPU WIDEN is False anyway; in the mended interpreter it rounds P to q's dtype as a GPU does, which the bound allows"
)
FIRST_TILE = "the first tile, and there is one, multiplies it by exp(-inf) = 0"
K_FILL = "dims beyond head_dim meet zeros of q, and as V they are not stored"
V_FILL = "what is beyond value_head_dim is not stored"
V_TWICE = "V lies where K does, with the same strides: it is only loaded twice"
LONE_BLOCK = "one of a token's lanes holds its block, which is 0 or more, and each other one 0"
MASKED_LANES = "lanes but the first are masked, whatever their addresses"
ANY_LANES = "any number of lanes is right: this only tunes"
PROMOTED = "Triton converts an integer that is multiplied by a float32 to float32, too"
PIVOT = "where the maximum is -inf every term is exp(-inf - pivot) = 0 for any finite pivot"
SAME_DTYPE = "only their dtype, or whether both are alike, is asked for, and K and V have the same dtype"
SUM_0_OR_1 = "the largest term is exp(0) = 1, so a sum is 0 or at least 1, and at 1 both sides are 1"
STORE = "a store converts to its pointer's type"
WHOLE_BLOCKS = "scratch has room for whole blocks of rows, and those beyond the last are not stored to out"
FIRST_PARTS = "the first parts multiply it by exp(-inf) = 0; without any the LSE is -inf, as b_max is, whatever the sum"
MASKED_PARTS = "one more round at most, all of it masked: a sum and a maximum stay what they are, or 0 and -inf"
PARTS_NOT_STORED = (
    "stands for rows beyond the last, which are not stored, and for parts that are none, whose weight is exp(-inf) = 0"
)
SINKS = "i_head is below num_q_heads in every lane, and the rows that are masked are never stored"
SINK_PIVOT = "b_sink is -inf where b_max is, so that b_new is -inf exactly where b_max is"
WINDOW = "a window of max_len + 1 and one of max_len both hold every token that there is"
SMALLER_VECTOR = "what 16 bytes of q hold divides what 16 bytes of a float8 cache hold: offsets are counted in smaller vectors"
MORE_ROWS = "never fewer blocks of rows; those beyond the last row have every row masked"
ANY_SHARES = "any number of shares, of at least 1, covers each tile once: this only tunes"
NO_TILE = "one more program, whose share begins where the tiles end"
FLOAT = "the arguments are floats by contract, so that float() does nothing"
NEVER_DENSE = "strides of 1 that the kernel is not told of are passed to it, which is only slower"
IN_ELEMENTS = "offsets are counted in elements, in 64 bits, which is only slower"
IEEE = "ieee rounds less than tf32x3 does"
PRECISION_SAME = "NVIDIA and AMD GPUs get what they got, and the interpreter ignores it"
IEEE_NVIDIA = "NVIDIA GPUs get ieee instead of tf32x3, which rounds less; the interpreter ignores it"
MERGE_SHAPE = "both shapes of a merge are right for any number of parts and dims: this only tunes"
MASKED_DIMS = "heads of 512 dims get a second block, all of it masked"
OTHER_ORDER = "the block of 512 comes second, and the one that holds the rest first: together they hold as many dims"
NO_VECTORS = "below 2 it means that rows are loaded element by element, which is right for every row"
STRICTER = "fewer rows, or none, count as made of vectors; the others are loaded element by element, which is right for every row"
INTERPRETED_SHAPE = "the interpreter's shape only, and any is right there; on a GPU this line is not reached"
SAME_BEGINNING = "beyond reach: in each case V that begins where K does has K's strides"
UNDEFINED_LENGTH = "GPU only: lengths beyond the last sequence are anything; the interpreter reads 0"
LOOP_TYPE = (
    "GPU only: it gives a loop's variable another type than it began with, which does not compile; the interpreter lets it pass"
)
PAST_Q = "beyond reach: rows that are never merged read past the last one of q, and fault if nothing is there"
PAST_V = "beyond reach: columns that are never stored read past V's rows, and fault if nothing is there"
ZERO_SHARES = "GPU only: a batch without tokens divides by 0, which gives anything; the interpreter's quotient is 0"
MANY_TILES = "beyond reach: shares times tiles pass 2**31 only with 2**20 tiles and more"
ONE_LANE = "GPU only: there a token has several lanes, in the interpreter one"
UNDEFINED_LANE = "GPU only: lanes that are masked hold anything; the interpreter reads 0"
BEFORE_TABLE = "beyond reach: only a sequence without tokens reads the entry before its first, uses it for nothing, and faults if none is there"
ONE_MORE_STEP = (
    "beyond reach: one more step at most, all of it masked, that reads the last token again, or block 0 where there is no token"
)
WRONG_HINT = "GPU only: a hint that does not hold makes loads wrong or misaligned; the interpreter ignores hints"
UNDEFINED_DIM = "GPU only: dims beyond head_dim hold anything, and 0 * NaN is NaN; the interpreter reads 0"
UNDEFINED_PART = "GPU only: parts that are none hold anything, and 0 * NaN is NaN; the interpreter reads 0"
TINY_Q = "beyond reach: only rows of q far below 2**-27 would lose by it what float16 does not hold, and none are drawn"
BFLOAT16_P = "GPU only: P is rounded to bfloat16 instead of float16; the interpreter widens both to float32"
HALF_BF16 = "GPU only: K and V of bfloat16 would become float16, which does not hold them; the interpreter widens them"
WIDE_DOT = "GPU only: dots of float32 in place of 16 bits need twice the shared memory; the interpreter widens anyway"
MIXED_DOT = "GPU only: a dot of float32 and 16 bits does not compile; the interpreter's operands are all float32"
AFTER_LOOP = "GPU only: what a loop has first assigned does not exist after it, and does not compile; for the interpreter it does"
FAR_SCRATCH = "beyond reach: scratch passes 2**31 elements only with an out of 2**27 and more, and at most 2**26 are built"
FAR_LSE = "beyond reach: rows times heads pass 2**31 only with an lse of as many elements"
EQUAL_BLOCKS = "GPU only: in the interpreter programs of both stages have 16 rows, so that pieces and blocks of rows are the same"
PARTS_AT_ONCE = (
    "GPU only: in the interpreter a sequence has 8 parts at most, and a program looks at 8 at once, so that there is one round"
)
FAR_WINDOW = "beyond reach: a window of 2**31 tokens or more does not fit into int32; cases have smaller ones"
SMALL_DOT = "GPU only: below 16 dims a dot does not compile; the interpreter multiplies any, and no smaller head is drawn"
SHAPE = "GPU only: the interpreter has a shape of its own; there tiles may not fit into shared memory, or are only slower"
LARGE_BLOCK = (
    "GPU only: blocks for more dims than there are may not fit into shared memory, or are only slower; the interpreter has room"
)
ENDLESS = "GPU only: it never ends where a tile does not fit into shared memory; the interpreter has a shape of its own"
ALL_TILES = "beyond reach: as many shares as tiles; only a table for millions of tokens makes their scratch and programs too many"
FAR_CACHE = "beyond reach: it takes a cache of 2**33 elements, and smaller ones are built"
PRECISION_AMD = "GPU only: on NVIDIA's it is what it was; AMD's know no tf32x3, and the interpreter ignores it"

EQUIVALENTS: dict[str, str] = {
    "drop-operand:_visible:first_query:* BLOCK_H:0dcc": EARLIER,
    "drop-condition:_visible:last_query:tl.minimum((i_rows *...// group, q_len - 1) -> (q_len - 1):b088": LATER,
    "off-by-one:_visible:last_query:(i_rows * BLOCK_H + ...LOCK_H - 1) // group -> (((i_rows * BLOCK_H ... - 1) // group) + 1):5fc2": LATER,
    "drop-operand:_visible:last_query:// group:a805": LATER,
    "off-by-one:_visible:last_query:i_rows * BLOCK_H + BLOCK_H - 1 -> ((i_rows * BLOCK_H + BLOCK_H - 1) + 1):a067": LATER,
    "drop-operand:_visible:last_query:- 1:1113": LATER,
    "change-operator:_visible:last_query:- -> +:bfb3": LATER,
    "change-constant:_visible:last_query:1 -> 0:2ba3": LATER,
    "drop-operand:_visible:first:+ first_query:547d": EARLIER,
    "off-by-one:_visible:return:first -> (first - 1):555c": EMPTY_RANGE,
    "off-by-one:_tiles_of_all:i_first:num_seqs -> (num_seqs + 1):11a2": MORE_SEQUENCES,
    "swap-arguments:_sequence_of:i_seq, before, seen:i_seq, before -> before, i_seq:9bd6": ALL_ZERO,
    "swap-arguments:_sequence_of:i_seq, before, seen:before, seen -> seen, before:986f": ALL_ZERO,
    "off-by-one:_sequence_of:i_first:num_seqs -> (num_seqs + 1):11a2": MORE_SEQUENCES,
    "off-by-one:_sequence_of:i_first:num_seqs -> (num_seqs - 1):8d56": LAST_SEQUENCE,
    "change-operator:_places_of:i_block:tl.sum -> tl.max:61dc": LONE_BLOCK,
    "drop-operand:_places_of:i_block:+ o_lane[None, :]:54b9": MASKED_LANES,
    "off-by-one:_attend_share:i_rows:pid -> (pid + 1):6847": OTHER_PROGRAM,
    "off-by-one:_attend_share:i_kv:pid -> (pid + 1):d417": OTHER_PROGRAM,
    "drop-cast:_attend_share:o_d:tl.arange(0, BLOCK_D).to(tl.int64) -> tl.arange(0, BLOCK_D):129e": SMALL_DIMS,
    "drop-cast:_attend_share:o_dv:tl.arange(0, BLOCK_DV).to(tl.int64) -> tl.arange(0, BLOCK_DV):2c5b": SMALL_DIMS,
    "drop-mask:_attend_share:b_slope:, mask=m_row, other=0.0:e082": SLOPES,
    "drop-mask:_attend_share:b_slope:, other=0.0:92fd": SLOPES,
    "change-constant:_attend_share:b_slope:0.0 -> 1.0:e20e": SLOPES,
    "drop-condition:_attend_share:if:DENSE -> False:c592": NEVER_DENSE,
    "swap-arguments:_attend_share:s_qd, s_kd, s_vd:s_qd, s_kd -> s_kd, s_qd:86aa": ONES,
    "swap-arguments:_attend_share:s_qd, s_kd, s_vd:s_kd, s_vd -> s_vd, s_kd:fd86": ONES,
    "delete-statement:_attend_share:s_qd, s_kd, s_vd:s_qd, s_kd, s_vd = 1, 1, 1 -> pass:022b": ONES,
    "drop-condition:_attend_share:if:VEC > 1 -> False:1ce0": ONES,
    "delete-statement:_attend_share:head_dim:head_dim = head_dim // VEC * VEC -> pass:41b6": WHOLE_VECTORS,
    "off-by-one:_attend_share:head_dim:head_dim -> (head_dim + 1):fbbf": WHOLE_VECTORS,
    "delete-statement:_attend_share:value_head_dim:value_head_dim = val...ead_dim // VEC * VEC -> pass:2393": WHOLE_VECTORS,
    "off-by-one:_attend_share:value_head_dim:value_head_dim -> (value_head_dim + 1):d3bb": WHOLE_VECTORS,
    "drop-cast:_attend_share:s_kb, s_ks:(s_kb // UNIT).to(tl.int32) -> (s_kb // UNIT):ca9b": IN_64_BITS,
    "off-by-one:_attend_share:s_kb, s_ks:s_kb -> (s_kb + 1):c4b9": WHOLE_STRIDES,
    "drop-cast:_attend_share:s_kb, s_ks:(s_ks // UNIT).to(tl.int32) -> (s_ks // UNIT):4784": IN_64_BITS,
    "off-by-one:_attend_share:s_kb, s_ks:s_ks -> (s_ks + 1):4f7a": WHOLE_STRIDES,
    "drop-cast:_attend_share:s_vb, s_vs:(s_vb // UNIT).to(tl.int32) -> (s_vb // UNIT):d6fb": IN_64_BITS,
    "off-by-one:_attend_share:s_vb, s_vs:s_vb -> (s_vb + 1):db28": WHOLE_STRIDES,
    "drop-cast:_attend_share:s_vb, s_vs:(s_vs // UNIT).to(tl.int32) -> (s_vs // UNIT):9199": IN_64_BITS,
    "off-by-one:_attend_share:s_vb, s_vs:s_vs -> (s_vs + 1):d0b0": WHOLE_STRIDES,
    "change-constant:_attend_share:if:0 -> 1:fb96": BLOCK_E,
    "drop-cast:_attend_share:o_e:tl.arange(0, BLOCK_E).to(tl.int64) -> tl.arange(0, BLOCK_E):6bda": SMALL_DIMS,
    "drop-condition:_attend_share:num_shares:tl.maximum(tl.minimu...m_shares, total), 1) -> 1:235d": FEWER_SHARES,
    "off-by-one:_attend_share:num_shares:tl.minimum(num_shares, total) -> (tl.minimum(num_shares, total) - 1):7f05": FEWER_SHARES,
    "off-by-one:_attend_share:num_shares:num_shares -> (num_shares - 1):692f": FEWER_SHARES,
    "off-by-one:_attend_share:num_shares:total -> (total + 1):96b0": EMPTY_SHARE,
    "off-by-one:_attend_share:num_shares:total -> (total - 1):aed0": FEWER_SHARES,
    "drop-cast:_attend_share:end:(total.to(tl.int64) ...shares).to(tl.int32) -> (total.to(tl.int64) ... + 1) // num_shares):234b": IN_64_BITS,
    "drop-condition:_attend_share:row_end:tl.minimum(row_last, last) -> row_last:1e42": ROW_END,
    "off-by-one:_attend_share:row_end:last -> (last + 1):31cb": ROW_END,
    "replace-name:_attend_share:row_end:last -> row_last:6760": ROW_END,
    "drop-cast:_attend_share:p_q:i_packed.to(tl.int64) -> i_packed:a5f6": IN_64_BITS,
    "drop-condition:_attend_share:if:VEC > 1 -> False:1ce0#2": HINT,
    "delete-statement:_attend_share:p_d:p_d = tl.multiple_of(p_d, (1, 16)) -> pass:fb72": HINT,
    "change-constant:_attend_share:if:0 -> 1:fb96#2": BLOCK_E,
    "change-constant:_attend_share:if:0 -> 1:fb96#3": BLOCK_E,
    "drop-cast:_attend_share:b_q:b_q.to(tl.float32) -> b_q:2c9d": BY_FLOAT,
    "change-constant:_attend_share:if:0 -> 1:fb96#4": BLOCK_E,
    "drop-cast:_attend_share:b_qe:b_qe.to(tl.float32) -> b_qe:0a08": BY_FLOAT,
    "drop-condition:_attend_share:if:WIDEN -> False:6925": WIDENED,
    "delete-statement:_attend_share:b_q:b_q = b_q.to(tl.float32) -> pass:bd12": WIDENED,
    "drop-cast:_attend_share:b_q:b_q.to(tl.float32) -> b_q:910a": WIDENED,
    "change-constant:_attend_share:b_sum:0.0 -> 1.0:13df": FIRST_TILE,
    "change-constant:_attend_share:b_out:0.0 -> 1.0:e1d8": FIRST_TILE,
    "drop-condition:_attend_share:if:UNIT == 1 -> True:f766": IN_64_BITS,
    "drop-condition:_attend_share:if:VEC > 1 -> False:1ce0#3": HINT,
    "delete-statement:_attend_share:p_k:p_k = tl.multiple_of(p_k, (1, 16)) -> pass:5dfb": HINT,
    "change-constant:_attend_share:b_k:0.0 -> 1.0:8eb2": K_FILL,
    "drop-condition:_attend_share:if:V_IN_K -> False:23ac": V_TWICE,
    "drop-condition:_attend_share:if:VEC > 1 -> False:1ce0#4": HINT,
    "delete-statement:_attend_share:p_v:p_v = tl.multiple_of(p_v, (1, 16)) -> pass:0cd3": HINT,
    "drop-mask:_attend_share:b_v:, other=0.0:fddb": V_FILL,
    "change-constant:_attend_share:b_v:0.0 -> 1.0:87c1": V_FILL,
    "change-constant:_attend_share:if:0 -> 1:fb96#5": BLOCK_E,
    "drop-condition:_attend_share:if:VEC > 1 -> False:1ce0#5": HINT,
    "delete-statement:_attend_share:p_e:p_e = tl.multiple_of(p_e, (1, 16)) -> pass:062c": HINT,
    "change-constant:_attend_share:b_e:0.0 -> 1.0:759d": K_FILL,
    "drop-cast:_attend_share:b_s:(o_t[None, :] - row_... + 1).to(tl.float32) -> (o_t[None, :] - row_last[:, None] + 1):ffad": PROMOTED,
    "change-constant:_attend_share:b_pivot:0.0 -> 1.0:ce8a": PIVOT,
    "replace-name:_attend_share:b_out:b_v -> b_k:0d9b": SAME_DTYPE,
    "change-constant:_attend_share:b_out:0.0 -> 1.0:f4e9": SUM_0_OR_1,
    "drop-cast:_attend_share:last_share:(((before + num_tile... total).to(tl.int32) -> (((before + num_tile...hares - 1) // total):124b": STORE,
    "drop-mask:_attend_share:tl.store:, mask=m_row:bae8": WHOLE_BLOCKS,
    "drop-mask:_attend_share:tl.store:, mask=m_row[:, None]:e954": WHOLE_BLOCKS,
    "off-by-one:_merge_shares:i_piece:pid -> (pid + 1):3722": OTHER_PROGRAM,
    "off-by-one:_merge_shares:i_kv:pid -> (pid + 1):3e81": OTHER_PROGRAM,
    "drop-cast:_merge_shares:o_dv:tl.arange(0, BLOCK_DV).to(tl.int64) -> tl.arange(0, BLOCK_DV):2c5b": SMALL_DIMS,
    "change-constant:_merge_shares:b_sum:0.0 -> 1.0:ea7b": FIRST_PARTS,
    "off-by-one:_merge_shares:i_first:num_parts -> (num_parts + 1):3783": MASKED_PARTS,
    "drop-condition:_merge_shares:m_part:m_row[:, None] &:d6f4": WHOLE_BLOCKS,
    "change-constant:_merge_shares:b_part:0.0 -> 1.0:efa4": PARTS_NOT_STORED,
    "change-constant:_merge_shares:b_pivot:0.0 -> 1.0:ce8a": PIVOT,
    'drop-mask:_merge_shares:b_sink:, mask=m_row, other=float("-inf"):5c59': SINKS,
    'drop-mask:_merge_shares:b_sink:, other=float("-inf"):3d36': SINKS,
    'change-constant:_merge_shares:b_sink:float("-inf") -> 0.0:ff11': SINKS,
    "change-constant:_merge_shares:b_pivot:0.0 -> 1.0:ce8a#2": PIVOT,
    "replace-name:_merge_shares:b_pivot:b_new -> b_max:6b74#2": SINK_PIVOT,
    "change-constant:_merge_shares:b_out:0.0 -> 1.0:a143": SUM_0_OR_1,
    "drop-cast:_merge_shares:tl.store:b_out.to(out.dtype.element_ty) -> b_out:69b4": STORE,
    "off-by-one:paged_decode:window:max_len -> (max_len + 1):b12f": WINDOW,
    "swap-arguments:paged_decode:vec:q, k_cache -> k_cache, q:aa8a": SMALLER_VECTOR,
    "swap-arguments:paged_decode:vec:k_cache, v_cache -> v_cache, k_cache:b53a": SAME_DTYPE,
    "swap-arguments:paged_decode:v_in_k:k_cache, v_cache -> v_cache, k_cache:c63c": SAME_DTYPE,
    "replace-name:paged_decode:block_h, tile, programs, options:k_cache -> v_cache:d8b4": SAME_DTYPE,
    "off-by-one:paged_decode:num_row_blocks:q_len * group -> ((q_len * group) + 1):cdc7": MORE_ROWS,
    "off-by-one:paged_decode:num_row_blocks:block_h -> (block_h - 1):4f55": MORE_ROWS,
    "drop-operand:paged_decode:tiles:* triton.cdiv(min(ma... + q_len - 1), tile):e447": ANY_SHARES,
    "replace-name:paged_decode:tiles:num_seqs -> group:b812": ANY_SHARES,
    "off-by-one:paged_decode:tiles:min(max_len, window + q_len - 1) -> (min(max_len, window + q_len - 1) + 1):2646": ANY_SHARES,
    "off-by-one:paged_decode:tiles:min(max_len, window + q_len - 1) -> (min(max_len, window + q_len - 1) - 1):1120": ANY_SHARES,
    "off-by-one:paged_decode:tiles:tile -> (tile + 1):8064": ANY_SHARES,
    "off-by-one:paged_decode:tiles:tile -> (tile - 1):3f90": ANY_SHARES,
    "drop-condition:paged_decode:tiles:min(max_len, window + q_len - 1) -> max_len:dc21": ANY_SHARES,
    "drop-condition:paged_decode:tiles:min(max_len, window + q_len - 1) -> (window + q_len - 1):8228": ANY_SHARES,
    "change-operator:paged_decode:tiles:min -> max:2882": ANY_SHARES,
    "off-by-one:paged_decode:tiles:max_len -> (max_len + 1):0cda": ANY_SHARES,
    "off-by-one:paged_decode:tiles:max_len -> (max_len - 1):8ad6": ANY_SHARES,
    "off-by-one:paged_decode:tiles:window + q_len - 1 -> ((window + q_len - 1) + 1):d78c": ANY_SHARES,
    "off-by-one:paged_decode:tiles:window + q_len - 1 -> ((window + q_len - 1) - 1):a89a": ANY_SHARES,
    "drop-operand:paged_decode:tiles:- 1:5527": ANY_SHARES,
    "change-operator:paged_decode:tiles:- -> +:7734": ANY_SHARES,
    "change-constant:paged_decode:tiles:1 -> 0:f4a5": ANY_SHARES,
    "drop-operand:paged_decode:tiles:+ q_len:cb5b": ANY_SHARES,
    "drop-operand:paged_decode:tiles:window +:6f09": ANY_SHARES,
    "swap-arguments:paged_decode:num_shares:num_seqs, tiles -> tiles, num_seqs:80c8": ANY_SHARES,
    "swap-arguments:paged_decode:num_shares:tiles, programs // columns -> programs // columns, tiles:8a8c": ANY_SHARES,
    "replace-name:paged_decode:num_shares:num_seqs -> group:0621": ANY_SHARES,
    "drop-operand:paged_decode:num_shares:// columns:1207": ANY_SHARES,
    "change-operator:paged_decode:num_shares:// -> %:2555": ANY_SHARES,
    "off-by-one:paged_decode:num_shares:programs -> (programs + 1):b60e": ANY_SHARES,
    "off-by-one:paged_decode:_attend_share:num_shares * num_kv_...ads * num_row_blocks -> ((num_shares * num_k...num_row_blocks) + 1):eb14": NO_TILE,
    "drop-cast:paged_decode:_attend_share:float(scale) -> scale:258e": FLOAT,
    "drop-cast:paged_decode:_attend_share:float(k_scale or 1.0) -> (k_scale or 1.0):e3ef": FLOAT,
    "drop-cast:paged_decode:_attend_share:float(v_scale or 1.0) -> (v_scale or 1.0):f5b2": FLOAT,
    "drop-cast:paged_decode:_attend_share:float(softcap) -> softcap:3f83": FLOAT,
    "change-constant:paged_decode:_attend_share:1 -> 0:4cd7": NEVER_DENSE,
    "drop-condition:paged_decode:_attend_share:vec if all(_span(cac...he, v_cache)) else 1 -> 1:9a39": IN_ELEMENTS,
    "off-by-one:paged_decode:_attend_share:vec * 2**31 -> ((vec * 2**31) - 1):a53b": IN_ELEMENTS,
    "drop-operand:paged_decode:_attend_share:* 2**31:c960": IN_ELEMENTS,
    "drop-operand:paged_decode:_attend_share:**31:d8e2": IN_ELEMENTS,
    "change-constant:paged_decode:_attend_share:2 -> 1:dc21": IN_ELEMENTS,
    "replace-name:paged_decode:_attend_share:k_cache -> v_cache:8dcf": SAME_DTYPE,
    'drop-condition:paged_decode:_attend_share:"tf32x3" if q.is_cud... is None else "ieee" -> "ieee":e559': IEEE,
    "drop-condition:paged_decode:_attend_share:q.is_cuda and torch.version.hip is None -> (torch.version.hip is None):85ad": PRECISION_SAME,
    "change-comparison:paged_decode:_attend_share:is -> is not:2356": IEEE_NVIDIA,
    'drop-condition:paged_decode:_attend_share:max(1, 32 * options...._warps", 1) // tile) -> 1:7fab': ANY_LANES,
    'drop-condition:paged_decode:_attend_share:max(1, 32 * options...._warps", 1) // tile) -> (32 * options.get("n..._warps", 1) // tile):5901': ANY_LANES,
    "change-operator:paged_decode:_attend_share:max -> min:f416": ANY_LANES,
    "change-constant:paged_decode:_attend_share:1 -> 0:4804": ANY_LANES,
    "drop-operand:paged_decode:_attend_share:// tile:cdab": ANY_LANES,
    "change-operator:paged_decode:_attend_share:// -> %:d372": ANY_LANES,
    'drop-operand:paged_decode:_attend_share:* options.get("num_warps", 1):cff7': ANY_LANES,
    "change-constant:paged_decode:_attend_share:1 -> 0:8ae9": ANY_LANES,
    "drop-operand:paged_decode:block_r, block_s:+ triton.cdiv(num_shares, num_seqs):c536": MERGE_SHAPE,
    "drop-operand:paged_decode:block_r, block_s:1 +:5875": MERGE_SHAPE,
    "change-constant:paged_decode:block_r, block_s:1 -> 0:c9c6": MERGE_SHAPE,
    "off-by-one:paged_decode:block_r, block_s:num_shares -> (num_shares + 1):5844": MERGE_SHAPE,
    "off-by-one:paged_decode:block_r, block_s:num_shares -> (num_shares - 1):d51e": MERGE_SHAPE,
    "off-by-one:paged_decode:block_r, block_s:num_seqs -> (num_seqs + 1):4bc3": MERGE_SHAPE,
    "replace-name:paged_decode:block_r, block_s:num_shares -> num_rows:7eb3": MERGE_SHAPE,
    "replace-name:paged_decode:block_r, block_s:num_seqs -> group:291a": MERGE_SHAPE,
    "replace-name:paged_decode:block_r, block_s:block_dv -> block_d:fd1b": MERGE_SHAPE,
    "change-comparison:_blocks_of_dims:if:<= -> <:c700": MASKED_DIMS,
    "swap-arguments:_blocks_of_dims:return:512, max(16, triton....f_2(head_dim - 512)) -> max(16, triton.next_...ead_dim - 512)), 512:fc08": OTHER_ORDER,
    "drop-condition:_vector:return:16 // k_cache.elemen...e, v_cache))) else 1 -> 1:e3af": NO_VECTORS,
    "change-constant:_vector:return:1 -> 0:8792": NO_VECTORS,
    "change-operator:_vector:return:// -> %:6b8d": NO_VECTORS,
    "replace-name:_vector:return:k_cache -> v_cache:c539": SAME_DTYPE,
    "drop-operand:_made_of_vectors:vec:// tensor.element_size():215a": STRICTER,
    "change-comparison:_made_of_vectors:steps:> -> >=:aec9": STRICTER,
    "change-constant:_made_of_vectors:steps:1 -> 0:5be7": STRICTER,
    "change-constant:_made_of_vectors:return:1 -> 0:77de": STRICTER,
    "change-constant:_made_of_vectors:return:0 -> 1:1916": STRICTER,
    "drop-operand:_made_of_vectors:return:% 16:f639": STRICTER,
    "change-operator:_made_of_vectors:return:% -> //:dab2": STRICTER,
    "drop-operand:_made_of_vectors:return:% vec:50ab": STRICTER,
    "change-operator:_made_of_vectors:return:% -> //:f12c": STRICTER,
    "drop-operand:_span:return:- 1:19b0": IN_ELEMENTS,
    "change-operator:_span:return:- -> +:5606": IN_ELEMENTS,
    "change-constant:_span:return:1 -> 0:f95f": IN_ELEMENTS,
    "change-comparison:_same_place:return:== -> !=:7563": V_TWICE,
    "swap-arguments:_shape_of_program:return:16, 32 -> 32, 16:2ccd": INTERPRETED_SHAPE,
    "swap-arguments:_shape_of_program:return:32, 8 -> 8, 32:760d": INTERPRETED_SHAPE,
    'drop-condition:_shape_of_merge:if:device.type == "cpu" -> False:91e2': MERGE_SHAPE,
    "swap-arguments:_shape_of_merge:return:16, 8 -> 8, 16:e825": INTERPRETED_SHAPE,
    "drop-condition:_shape_of_merge:if:parts <= 4 -> True:81f5": MERGE_SHAPE,
    "drop-condition:_shape_of_merge:if:parts <= 4 -> False:35e2": MERGE_SHAPE,
    "change-comparison:_shape_of_merge:if:<= -> <:b762": MERGE_SHAPE,
    "swap-arguments:_shape_of_merge:return:max(1, min(16, 2048 // block_dv)), 1 -> 1, max(1, min(16, 2048 // block_dv)):fa8c": MERGE_SHAPE,
    "drop-condition:_shape_of_merge:return:max(1, min(16, 2048 // block_dv)) -> 1:f4ea": MERGE_SHAPE,
    "drop-condition:_shares:shares:max(1, min(tiles, programs)) -> 1:968f": ANY_SHARES,
    "off-by-one:_shares:shares:min(tiles, programs) -> (min(tiles, programs) + 1):f73d": ANY_SHARES,
    "off-by-one:_shares:shares:min(tiles, programs) -> (min(tiles, programs) - 1):6ccf": ANY_SHARES,
    "drop-condition:_shares:shares:min(tiles, programs) -> programs:1fdb": ANY_SHARES,
    "off-by-one:_shares:shares:tiles -> (tiles + 1):4010": ANY_SHARES,
    "off-by-one:_shares:shares:tiles -> (tiles - 1):c852": ANY_SHARES,
    "off-by-one:_shares:shares:programs -> (programs + 1):d70a": ANY_SHARES,
    "off-by-one:_shares:shares:programs -> (programs - 1):25fd": ANY_SHARES,
    "drop-condition:_shares:if:shares >= num_seqs -> False:2d10": ANY_SHARES,
    "change-comparison:_shares:if:>= -> >:ccfe": ANY_SHARES,
    "drop-operand:_shares:return:* num_seqs:043a": ANY_SHARES,
    "drop-operand:_shares:return:// num_seqs:ed09": ANY_SHARES,
    "off-by-one:_shares:return:shares -> (shares + 1):32b6": ANY_SHARES,
    "off-by-one:_shares:whole:num_seqs -> (num_seqs + 1):762d": ANY_SHARES,
    "off-by-one:_shares:whole:num_seqs -> (num_seqs - 1):3525": ANY_SHARES,
    "off-by-one:_shares:whole:triton.cdiv(num_seqs, shares) -> (triton.cdiv(num_seqs, shares) + 1):7724": ANY_SHARES,
    "off-by-one:_shares:whole:triton.cdiv(num_seqs, shares) -> (triton.cdiv(num_seqs, shares) - 1):d655": ANY_SHARES,
    "off-by-one:_shares:whole:num_seqs -> (num_seqs + 1):bf37": ANY_SHARES,
    "off-by-one:_shares:whole:num_seqs -> (num_seqs - 1):204a": ANY_SHARES,
    "off-by-one:_shares:whole:shares -> (shares + 1):74d8": ANY_SHARES,
    "drop-condition:_shares:return:whole if 10 * whole ...* shares else shares -> whole:b837": ANY_SHARES,
    "drop-condition:_shares:return:whole if 10 * whole ...* shares else shares -> shares:158c": ANY_SHARES,
    "change-comparison:_shares:return:>= -> >:4e03": ANY_SHARES,
    "drop-operand:_shares:return:* whole:9cad": ANY_SHARES,
    "drop-operand:_shares:return:* shares:7b28": ANY_SHARES,
}

OUT_OF_REACH: dict[str, str] = {
    "drop-mask:_tiles_of:num_seen:, other=0:28af": UNDEFINED_LENGTH,
    "drop-cast:_sequence_of:i_seq:(b_end <= i_tile).to(tl.int32) -> (b_end <= i_tile):43d8": LOOP_TYPE,
    "drop-condition:_places_of:m_lane:& (o_lane == 0)[None, :]:a07c": ONE_LANE,
    "drop-condition:_places_of:m_lane:(o_t >= 0)[:, None] &:a6bd": BEFORE_TABLE,
    "change-operator:_places_of:m_lane:& -> |:7c72": ONE_LANE,
    "replace-name:_places_of:m_lane:o_t -> o_lane:e22f": ONE_LANE,
    "swap-axes:_places_of:m_lane:None, : -> :, None:1e65": ONE_LANE,
    "drop-mask:_places_of:i_block:, mask=m_lane, other=0:e309": ONE_LANE,
    "drop-mask:_places_of:i_block:, other=0:5055": UNDEFINED_LANE,
    "swap-axes:_places_of:i_block:None, : -> :, None:d4f3": ONE_LANE,
    "change-constant:_places_of:i_block:0 -> 1:a761": ONE_LANE,
    "change-comparison:_attend_share:m_row:< -> <=:a91a": PAST_Q,
    "drop-operand:_attend_share:value_head_dim:// VEC:da53": PAST_V,
    "change-comparison:_attend_share:m_v:< -> <=:1e1f": PAST_V,
    "drop-condition:_attend_share:num_shares:tl.maximum(tl.minimu...m_shares, total), 1) -> tl.minimum(num_shares, total):d915": ZERO_SHARES,
    "change-operator:_attend_share:num_shares:tl.maximum -> tl.minimum:442f": ZERO_SHARES,
    "change-constant:_attend_share:num_shares:1 -> 0:453c": ZERO_SHARES,
    "drop-cast:_attend_share:i_tile:(total.to(tl.int64) ...shares).to(tl.int32) -> (total.to(tl.int64) ...share // num_shares):4e0c": LOOP_TYPE,
    "drop-cast:_attend_share:i_tile:total.to(tl.int64) -> total:e117": MANY_TILES,
    "drop-cast:_attend_share:end:total.to(tl.int64) -> total:5032": MANY_TILES,
    "drop-condition:_attend_share:if:VEC > 1 -> True:17f8#2": WRONG_HINT,
    "change-comparison:_attend_share:if:> -> >=:e93f#2": WRONG_HINT,
    "change-constant:_attend_share:if:1 -> 0:80ec#2": WRONG_HINT,
    "change-constant:_attend_share:p_d:1 -> 0:fa1c": WRONG_HINT,
    "drop-mask:_attend_share:b_q:, other=0.0:7df4": UNDEFINED_DIM,
    "drop-condition:_attend_share:b_q:m_row[:, None] &:e514": PAST_Q,
    "change-constant:_attend_share:b_q:0.0 -> 1.0:828d": TINY_Q,
    "drop-mask:_attend_share:b_qe:, other=0.0:0758": UNDEFINED_DIM,
    "drop-condition:_attend_share:b_qe:m_row[:, None] &:cf51": PAST_Q,
    "change-constant:_attend_share:b_qe:0.0 -> 1.0:fbee": TINY_Q,
    "drop-condition:_attend_share:if:HALF -> False:0455": BFLOAT16_P,
    "drop-condition:_attend_share:b_bits:tl.maximum(b_top.to(...x7F800000, 14 << 23) -> (b_top.to(tl.int32, ...=True) & 0x7F800000):e3af": TINY_Q,
    "off-by-one:_attend_share:b_bits:14 << 23 -> ((14 << 23) + 1):fb12": TINY_Q,
    "off-by-one:_attend_share:b_bits:14 << 23 -> ((14 << 23) - 1):abfc": TINY_Q,
    "drop-operand:_attend_share:b_bits:<< 23:605a": TINY_Q,
    "drop-cast:_attend_share:b_q:(b_q.to(tl.float32) ...ower).to(tl.float16) -> (b_q.to(tl.float32) * b_power):cd9f": WIDE_DOT,
    "drop-cast:_attend_share:b_qe:(b_qe.to(tl.float32)...ower).to(tl.float16) -> (b_qe.to(tl.float32) * b_power):3861": WIDE_DOT,
    "drop-condition:_attend_share:if:WIDEN -> True:dfb7": WIDE_DOT,
    "off-by-one:_attend_share:i_t:last -> (last + 1):3e2b": ONE_MORE_STEP,
    "drop-condition:_attend_share:if:VEC > 1 -> True:17f8#3": WRONG_HINT,
    "change-comparison:_attend_share:if:> -> >=:e93f#3": WRONG_HINT,
    "change-constant:_attend_share:if:1 -> 0:80ec#3": WRONG_HINT,
    "change-constant:_attend_share:p_k:1 -> 0:b7f6": WRONG_HINT,
    "drop-mask:_attend_share:b_k:, other=0.0:d151": UNDEFINED_DIM,
    "drop-condition:_attend_share:if:VEC > 1 -> True:17f8#4": WRONG_HINT,
    "change-comparison:_attend_share:if:> -> >=:e93f#4": WRONG_HINT,
    "change-constant:_attend_share:if:1 -> 0:80ec#4": WRONG_HINT,
    "change-constant:_attend_share:p_v:1 -> 0:2116": WRONG_HINT,
    "drop-mask:_attend_share:b_v:, mask=m_v, other=0.0:9979": PAST_V,
    "drop-condition:_attend_share:if:VEC > 1 -> True:17f8#5": WRONG_HINT,
    "change-comparison:_attend_share:if:> -> >=:e93f#5": WRONG_HINT,
    "change-constant:_attend_share:if:1 -> 0:80ec#5": WRONG_HINT,
    "change-constant:_attend_share:p_e:1 -> 0:df40": WRONG_HINT,
    "drop-mask:_attend_share:b_e:, other=0.0:bf14": UNDEFINED_DIM,
    "drop-cast:_attend_share:b_out:b_p.to(b_v.dtype) -> b_p:5a74": MIXED_DOT,
    "replace-name:_attend_share:b_lse:b_max -> b_new:6b99": AFTER_LOOP,
    "drop-cast:_attend_share:last_share:(before + num_tiles).to(tl.int64) -> (before + num_tiles):c48a": MANY_TILES,
    "drop-cast:_attend_share:i_part:(i_place * num_colum...column).to(tl.int64) -> (i_place * num_columns + i_column):954f": FAR_SCRATCH,
    "swap-parameters:_merge_shares:signature:num_row_blocks: tl.i...num_pieces: tl.int32 -> num_pieces: tl.int32...row_blocks: tl.int32:0152": EQUAL_BLOCKS,
    "off-by-one:_merge_shares:i_rows:i_piece * BLOCK_R -> ((i_piece * BLOCK_R) + 1):2389": EQUAL_BLOCKS,
    "replace-name:_merge_shares:i_column:num_row_blocks -> num_pieces:437a": EQUAL_BLOCKS,
    "replace-name:_merge_shares:i_column:i_rows -> i_piece:165f": EQUAL_BLOCKS,
    "replace-name:_merge_shares:num_columns:num_row_blocks -> num_pieces:b68b": EQUAL_BLOCKS,
    "replace-name:_merge_shares:p_parts:i_column -> i_piece:530b": EQUAL_BLOCKS,
    "off-by-one:_merge_shares:i_first:BLOCK_S -> (BLOCK_S + 1):7c85": PARTS_AT_ONCE,
    "replace-name:_merge_shares:i_first:num_parts -> num_kv_heads:1fb7": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:i_place:i_first +:62dc": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:i_place:+ i_first:d0bf": PARTS_AT_ONCE,
    "drop-cast:_merge_shares:i_part:(i_place * num_colum...column).to(tl.int64) -> (i_place * num_columns + i_column):f7cd": FAR_SCRATCH,
    "drop-operand:_merge_shares:m_part:i_first +:684d": PARTS_AT_ONCE,
    "drop-mask:_merge_shares:b_part:, other=0.0:262e": UNDEFINED_PART,
    "drop-condition:_merge_shares:b_new:tl.maximum(b_max, tl.max(b_lse, axis=1)) -> tl.max(b_lse, axis=1):1018": PARTS_AT_ONCE,
    'drop-condition:_merge_shares:b_pivot:tl.where(b_new == fl..."-inf"), 0.0, b_new) -> b_new:877f': PARTS_AT_ONCE,
    'change-constant:_merge_shares:b_pivot:float("-inf") -> 0.0:2ab6': PARTS_AT_ONCE,
    "change-operator:_merge_shares:b_rescale:tl.exp -> tl.exp2:008e": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:b_rescale:- b_pivot:a8b3": PARTS_AT_ONCE,
    "change-operator:_merge_shares:b_rescale:- -> +:f53b": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:b_sum:b_sum * b_rescale +:1eec": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:b_sum:* b_rescale:0762": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:b_out:b_out * b_rescale[:, None] +:bbb9": PARTS_AT_ONCE,
    "drop-operand:_merge_shares:b_out:* b_rescale[:, None]:fb73": PARTS_AT_ONCE,
    "drop-cast:_merge_shares:i_packed:(i_seq * q_len + o_r... group).to(tl.int64) -> (i_seq * q_len + o_row // group):019d": FAR_LSE,
    "drop-condition:paged_decode:window:min(window or max_len, max_len) -> (window or max_len):875e": FAR_WINDOW,
    "drop-condition:paged_decode:block_dv:max(16, triton.next_...f_2(value_head_dim)) -> triton.next_power_of_2(value_head_dim):30d7": SMALL_DOT,
    "drop-operand:paged_decode:dims:+ (0 if v_in_k else block_dv):20ae": SHAPE,
    "drop-operand:paged_decode:dims:+ block_e:4245": SHAPE,
    "drop-operand:paged_decode:dims:block_d +:3f3b": SHAPE,
    "replace-name:paged_decode:dims:block_d -> block_dv:c356": SHAPE,
    "drop-condition:paged_decode:dims:0 if v_in_k else block_dv -> 0:fc0b": SHAPE,
    "drop-condition:paged_decode:dims:0 if v_in_k else block_dv -> block_dv:f180": SHAPE,
    "change-constant:paged_decode:dims:0 -> 1:177a": SHAPE,
    "replace-name:paged_decode:dims:block_dv -> block_d:a8c7": SHAPE,
    "swap-arguments:paged_decode:block_h, tile, programs, options:block_h, tile -> tile, block_h:4a7c": SHAPE,
    "swap-arguments:paged_decode:block_h, tile, programs, options:tile, programs -> programs, tile:d78a": SHAPE,
    "swap-arguments:paged_decode:block_h, tile, programs, options:q_len * group, dims -> dims, q_len * group:a50c": SHAPE,
    "swap-arguments:paged_decode:block_h, tile, programs, options:dims, vec -> vec, dims:dd90": SHAPE,
    "swap-arguments:paged_decode:block_h, tile, programs, options:vec, k_cache.element_size() -> k_cache.element_size(), vec:ef46": SHAPE,
    "drop-operand:paged_decode:block_h, tile, programs, options:* group:5e76": SHAPE,
    "replace-name:paged_decode:block_h, tile, programs, options:group -> num_rows:73a5": SHAPE,
    "drop-condition:paged_decode:_attend_share:vec if all(_span(cac...he, v_cache)) else 1 -> vec:27a7": FAR_CACHE,
    "change-comparison:paged_decode:_attend_share:< -> <=:41e8": FAR_CACHE,
    "replace-name:paged_decode:_attend_share:k_cache -> v_cache:b349": FAR_CACHE,
    "replace-name:paged_decode:_attend_share:v_cache -> k_cache:61fb": FAR_CACHE,
    "drop-condition:paged_decode:_attend_share:q.dtype == torch.bfl....element_size() == 1 -> (q.dtype == torch.bfloat16):dbc0": HALF_BF16,
    "change-constant:paged_decode:_attend_share:1 -> 0:ae0d": BFLOAT16_P,
    'drop-condition:paged_decode:_attend_share:"tf32x3" if q.is_cud... is None else "ieee" -> "tf32x3":f403': PRECISION_AMD,
    "drop-condition:paged_decode:_attend_share:q.is_cuda and torch.version.hip is None -> q.is_cuda:0864": PRECISION_AMD,
    "swap-arguments:paged_decode:block_r, block_s:block_r, block_s -> block_s, block_r:e2c6": SHAPE,
    "swap-arguments:paged_decode:block_r, block_s:1 + triton.cdiv(num_... num_seqs), block_dv -> block_dv, 1 + triton...um_shares, num_seqs):b47b": SHAPE,
    "drop-condition:_blocks_of_dims:if:head_dim <= 512 -> True:ff34": LARGE_BLOCK,
    "drop-condition:_blocks_of_dims:if:head_dim <= 512 -> False:e00a": LARGE_BLOCK,
    "change-constant:_blocks_of_dims:return:0 -> 1:8371": SMALL_DOT,
    "drop-condition:_blocks_of_dims:return:max(16, triton.next_...ower_of_2(head_dim)) -> triton.next_power_of_2(head_dim):c8bb": SMALL_DOT,
    "drop-condition:_blocks_of_dims:return:max(16, triton.next_...f_2(head_dim - 512)) -> triton.next_power_of_2(head_dim - 512):58e5": SMALL_DOT,
    "drop-operand:_blocks_of_dims:return:- 512:d3bf": LARGE_BLOCK,
    "change-operator:_blocks_of_dims:return:- -> +:0a28": LARGE_BLOCK,
    "drop-condition:_made_of_vectors:return:tensor.stride(-1) ==....shape[-1], *steps]) -> (tensor.stride(-1) =...shape[-1], *steps])):10da": WRONG_HINT,
    "change-comparison:_made_of_vectors:return:== -> !=:aef7": WRONG_HINT,
    "off-by-one:_made_of_vectors:return:tensor.data_ptr() -> (tensor.data_ptr() + 1):4a2b": WRONG_HINT,
    "drop-operand:_span:return:* stride:8ecc": FAR_CACHE,
    "drop-condition:_same_place:return:k_cache.data_ptr() =... == v_cache.stride() -> (k_cache.data_ptr() ... v_cache.data_ptr()):63fd": SAME_BEGINNING,
    "replace-name:_same_place:return:k_cache -> v_cache:354e": SAME_BEGINNING,
    "replace-name:_same_place:return:v_cache -> k_cache:6d61": SAME_BEGINNING,
    'drop-condition:_shape_of_program:if:device.type == "cpu" -> True:6be5': SHAPE,
    "drop-operand:_shape_of_program:shared_memory:**16:1f2c": SHAPE,
    "change-constant:_shape_of_program:shared_memory:2 -> 1:e9ed": SHAPE,
    "swap-arguments:_shape_of_program:tile, warps, stages, programs:tile, warps -> warps, tile:c3fd": SHAPE,
    "swap-arguments:_shape_of_program:tile, warps, stages, programs:warps, stages -> stages, warps:f0c3": SHAPE,
    "swap-arguments:_shape_of_program:tile, warps, stages, programs:stages, programs -> programs, stages:c50b": SHAPE,
    "drop-condition:_shape_of_program:tile, warps, stages, programs:dims <= most and itemsize <= bytes_ -> (itemsize <= bytes_):322b": SHAPE,
    "drop-condition:_shape_of_program:tile, warps, stages, programs:dims <= most and itemsize <= bytes_ -> (dims <= most):c897": SHAPE,
    "change-comparison:_shape_of_program:tile, warps, stages, programs:<= -> <:efe3": SHAPE,
    "off-by-one:_shape_of_program:tile, warps, stages, programs:most -> (most - 1):92df": SHAPE,
    "change-comparison:_shape_of_program:tile, warps, stages, programs:<= -> <:690b": SHAPE,
    "off-by-one:_shape_of_program:tile, warps, stages, programs:bytes_ -> (bytes_ - 1):865b": SHAPE,
    "drop-condition:_shape_of_program:block_h:64 if rows >= 64 else 16 -> 64:f856": SHAPE,
    "drop-condition:_shape_of_program:block_h:64 if rows >= 64 else 16 -> 16:3e09": SHAPE,
    "change-comparison:_shape_of_program:block_h:>= -> >:12f6": SHAPE,
    "drop-condition:_shape_of_program:if:block_h == 64 -> True:16ad": SHAPE,
    "drop-condition:_shape_of_program:if:block_h == 64 -> False:0dea": SHAPE,
    "change-comparison:_shape_of_program:if:== -> !=:0049": SHAPE,
    "swap-arguments:_shape_of_program:tile, warps, stages, programs:tile, warps -> warps, tile:cd4f": SHAPE,
    "swap-arguments:_shape_of_program:tile, warps, stages, programs:warps, stages -> stages, warps:f6b2": SHAPE,
    "swap-arguments:_shape_of_program:tile, warps, stages, programs:stages, programs -> programs, stages:7a60": SHAPE,
    "delete-statement:_shape_of_program:tile, warps, stages, programs:tile, warps, stages,...n(tile, 64), 8, 3, 1 -> pass:094a": SHAPE,
    "change-constant:_shape_of_program:tile, warps, stages, programs:1 -> 0:c55d": SHAPE,
    "drop-condition:_shape_of_program:tile, warps, stages, programs:min(tile, 64) -> tile:9246": SHAPE,
    "drop-condition:_shape_of_program:tile, warps, stages, programs:min(tile, 64) -> 64:b2dc": SHAPE,
    "change-operator:_shape_of_program:tile, warps, stages, programs:min -> max:7b56": SHAPE,
    "off-by-one:_shape_of_program:tile, warps, stages, programs:tile -> (tile + 1):a9c0": SHAPE,
    "off-by-one:_shape_of_program:tile, warps, stages, programs:tile -> (tile - 1):62f5": SHAPE,
    "delete-statement:_shape_of_program:most:most = tile * dims -> pass:624f": SHAPE,
    "drop-operand:_shape_of_program:most:* dims:8973": SHAPE,
    "drop-condition:_shape_of_program:if:vec == 1 -> True:52ac": SHAPE,
    "drop-condition:_shape_of_program:if:vec == 1 -> False:e9f1": SHAPE,
    "change-comparison:_shape_of_program:if:== -> !=:8ddb": SHAPE,
    "change-constant:_shape_of_program:if:1 -> 0:c06b": SHAPE,
    "swap-arguments:_shape_of_program:most, warps:most, warps -> warps, most:3ad8": SHAPE,
    "delete-statement:_shape_of_program:most, warps:most, warps = 8192, max(4, warps) -> pass:f981": SHAPE,
    "drop-condition:_shape_of_program:most, warps:max(4, warps) -> 4:824f": SHAPE,
    "drop-condition:_shape_of_program:most, warps:max(4, warps) -> warps:b146": SHAPE,
    "change-operator:_shape_of_program:most, warps:max -> min:9e4b": SHAPE,
    "off-by-one:_shape_of_program:most, warps:warps -> (warps + 1):5d58": SHAPE,
    "off-by-one:_shape_of_program:most, warps:warps -> (warps - 1):cdfc": SHAPE,
    "drop-condition:_shape_of_program:while:tile > 16 and (tile ...ize > shared_memory) -> (tile * dims > most ...ize > shared_memory):49e9": SHAPE,
    "drop-condition:_shape_of_program:while:tile > 16 and (tile ...ize > shared_memory) -> (tile > 16):f793": SHAPE,
    "change-comparison:_shape_of_program:while:> -> >=:2ce0": SHAPE,
    "drop-condition:_shape_of_program:while:tile * dims > most o...size > shared_memory -> (((stages - 1) * til...ize > shared_memory):a6a8": SHAPE,
    "drop-condition:_shape_of_program:while:tile * dims > most o...size > shared_memory -> (tile * dims > most):24aa": SHAPE,
    "change-comparison:_shape_of_program:while:> -> >=:726b": SHAPE,
    "drop-operand:_shape_of_program:while:* dims:3da5": SHAPE,
    "change-comparison:_shape_of_program:while:> -> >=:3993": SHAPE,
    "drop-operand:_shape_of_program:while:* itemsize:b50d": SHAPE,
    "drop-operand:_shape_of_program:while:* dims:390b": SHAPE,
    "drop-operand:_shape_of_program:while:+ 2 * block_h:8d88": SHAPE,
    "drop-operand:_shape_of_program:while:(stages - 1) * tile +:1b6b": SHAPE,
    "drop-operand:_shape_of_program:while:* tile:c6ea": SHAPE,
    "drop-operand:_shape_of_program:while:- 1:df2c": SHAPE,
    "change-operator:_shape_of_program:while:- -> +:3692": SHAPE,
    "change-constant:_shape_of_program:while:1 -> 0:fb6e": SHAPE,
    "drop-operand:_shape_of_program:while:* block_h:f977": SHAPE,
    "change-constant:_shape_of_program:while:2 -> 1:ffb5": SHAPE,
    "change-constant:_shape_of_program:tile:2 -> 1:dece": SHAPE,
    "delete-statement:_shape_of_program:tile:tile //= 2 -> pass:2f78": ENDLESS,
    "swap-arguments:_shape_of_program:return:block_h, tile -> tile, block_h:1bae": SHAPE,
    "swap-arguments:_shape_of_program:return:tile, programs * pro...ulti_processor_count -> programs * propertie...rocessor_count, tile:3c94": SHAPE,
    'swap-arguments:_shape_of_program:return:programs * propertie...num_stages": stages} -> {"num_warps": warps,...ulti_processor_count:7075': SHAPE,
    "drop-operand:_shape_of_program:return:* properties.multi_processor_count:2f00": SHAPE,
    'drop-condition:_shape_of_merge:if:device.type == "cpu" -> True:6be5': SHAPE,
    "change-comparison:_shape_of_merge:if:== -> !=:5fa2": SHAPE,
    "change-constant:_shape_of_merge:return:1 -> 0:443a": SHAPE,
    "drop-condition:_shape_of_merge:return:max(1, min(16, 2048 // block_dv)) -> min(16, 2048 // block_dv):430c": SHAPE,
    "change-operator:_shape_of_merge:return:max -> min:6b38": SHAPE,
    "change-constant:_shape_of_merge:return:1 -> 0:cbd5": SHAPE,
    "off-by-one:_shape_of_merge:return:min(16, 2048 // block_dv) -> (min(16, 2048 // block_dv) + 1):260b": SHAPE,
    "off-by-one:_shape_of_merge:return:min(16, 2048 // block_dv) -> (min(16, 2048 // block_dv) - 1):ffa6": SHAPE,
    "drop-condition:_shape_of_merge:return:min(16, 2048 // block_dv) -> 16:f180": SHAPE,
    "drop-condition:_shape_of_merge:return:min(16, 2048 // block_dv) -> (2048 // block_dv):3fb2": SHAPE,
    "change-operator:_shape_of_merge:return:min -> max:6aa5": SHAPE,
    "off-by-one:_shape_of_merge:return:2048 // block_dv -> ((2048 // block_dv) + 1):0e96": SHAPE,
    "off-by-one:_shape_of_merge:return:2048 // block_dv -> ((2048 // block_dv) - 1):9234": SHAPE,
    "drop-operand:_shape_of_merge:return:// block_dv:1556": SHAPE,
    "change-operator:_shape_of_merge:return:// -> %:958d": SHAPE,
    "swap-arguments:_shape_of_merge:return:1, max(1, min(64, 8192 // block_dv)) -> max(1, min(64, 8192 // block_dv)), 1:387f": SHAPE,
    "change-constant:_shape_of_merge:return:1 -> 0:2bb0": SHAPE,
    "drop-condition:_shape_of_merge:return:max(1, min(64, 8192 // block_dv)) -> 1:ec0a": SHAPE,
    "drop-condition:_shape_of_merge:return:max(1, min(64, 8192 // block_dv)) -> min(64, 8192 // block_dv):bb04": SHAPE,
    "change-operator:_shape_of_merge:return:max -> min:0010": SHAPE,
    "change-constant:_shape_of_merge:return:1 -> 0:93ca": SHAPE,
    "off-by-one:_shape_of_merge:return:min(64, 8192 // block_dv) -> (min(64, 8192 // block_dv) + 1):28c5": SHAPE,
    "off-by-one:_shape_of_merge:return:min(64, 8192 // block_dv) -> (min(64, 8192 // block_dv) - 1):77af": SHAPE,
    "drop-condition:_shape_of_merge:return:min(64, 8192 // block_dv) -> 64:e479": SHAPE,
    "drop-condition:_shape_of_merge:return:min(64, 8192 // block_dv) -> (8192 // block_dv):f13a": SHAPE,
    "change-operator:_shape_of_merge:return:min -> max:6b55": SHAPE,
    "off-by-one:_shape_of_merge:return:8192 // block_dv -> ((8192 // block_dv) + 1):711d": SHAPE,
    "off-by-one:_shape_of_merge:return:8192 // block_dv -> ((8192 // block_dv) - 1):d251": SHAPE,
    "drop-operand:_shape_of_merge:return:// block_dv:7e65": SHAPE,
    "change-operator:_shape_of_merge:return:// -> %:fe91": SHAPE,
    "drop-condition:_shares:shares:min(tiles, programs) -> tiles:5443": ALL_TILES,
    "change-operator:_shares:shares:min -> max:ba6c": ALL_TILES,
}
