"""Generic mutants that no case tells from the kernel, one by one, with the reason. `EQUIVALENTS` compute what the kernel computes;
what is `OUT_OF_REACH` shows on a GPU alone, or in cases larger than those that are built. generic.py refuses names that do not
exist (any more), so that whoever edits the line that one stands in looks at it again.
"""

# ruff: noqa: E501 (names are as long as they are)

from __future__ import annotations

OTHER_PROGRAM = "the remainder of pid + 1 runs through the same numbers, so that each still has its program, only another one"
OTHER_ROW = (
    "within a query token (o_row + 1) % group is a permutation of the heads, and q, slopes and scratch are all found by i_head"
)
SMALL_DIMS = "dims are below 4096, and an address multiplies them by strides or adds them to rows, which are int64"
SMALL_TILE = "numbers below 64, added to i_t, which is at most 2**24, the longest sequence that is built"
EARLIER = "the range begins no later and at a token that the first query token sees; rows that do not are masked by row_first"
LATER = (
    "the range ends no earlier and, by q_len - 1, with the last query token's own; rows that end before are masked by row_last"
)
Q_FILL = "rows beyond the last are never stored, and dims beyond head_dim meet zeros of K"
SLOPES = "i_head is below num_q_heads in every lane, and the rows that are masked are never stored"
FIRST_TILE = "the first tile multiplies it by exp(-inf) = 0; without one the LSE is -inf as b_max is, and the merge's weight 0"
EMPTY_TILE = "one more tile at most, all of it masked: a sum and a maximum stay what they are, or 0 and -inf"
MASKED_BLOCK = "the block of masked tokens, whose K and V are masked with them"
K_OF_BLOCK_0 = "masked tokens have block 0, which exists, and whatever their score is, -inf takes its place"
K_FILL = "dims beyond head_dim meet zeros of q, masked tokens score -inf"
V_FILL = "masked tokens have weight exp(-inf) = 0, and what is beyond value_head_dim is not stored"
WIDENED = (
    "on a GPU WIDEN is False anyway; in the mended interpreter it rounds P to q's dtype as a GPU does, which the bound allows"
)
PROMOTED = "Triton converts an int64 that is multiplied by a float32 to float32, too"
PIVOT = "where the maximum is -inf every term is exp(-inf - pivot) = 0 for any finite pivot"
SAME_DTYPE = "only their dtype is asked for, and K and V have the same"
SUM_0_OR_1 = "the largest term is exp(0) = 1, so a sum is 0 or at least 1, and at 1 both sides are 1"
FIRST_SPLIT = "the first split, and there is one, multiplies it by exp(-inf) = 0"
ROWS_NOT_STORED = "stands for rows beyond the last, which are not stored"
PARTS_NOT_STORED = "stands for rows and dims beyond the last, which are not stored"
SINKS = "i_row % num_q_heads is a head in every lane, and the rows that are masked are never stored"
SINK_PIVOT = "b_sink is -inf where b_max is, so that b_new is -inf exactly where b_max is"
STORE = "a store converts to its pointer's type"
MORE_ROWS = "never fewer programs; those beyond the last row have every row masked, and store nothing"
ANY_SPLITS = "any split_len of at least 1, with the number of splits taken from it, covers each token once: this only tunes"
ONE_SPLIT = "tiles, MAX_SPLITS and programs per row are at least 1, and so is the minimum of them"
EMPTY_SPLITS = "never fewer splits; those beyond max_len see no token, and an empty split is neutral"
FLOAT = "the arguments are floats by contract, so that float() does nothing"
WINDOW = "a window of max_len + 1 and one of max_len both hold every token that there is"
TILE_ONLY = "on a GPU interpreted is False anyway; in the interpreter only the tile becomes another one, and options mean nothing"
FAR_SCRATCH = (
    "beyond reach: rows * splits * dims of scratch pass 2**31 only with an out of 2**28 elements, and at most 2**26 are built"
)
PAST_LSE = (
    "beyond reach: lanes that are never stored read up to 480 bytes past the kernel's own scratch and fault if nothing is there"
)
PAST_OUT = (
    "beyond reach: lanes that are never stored read up to 2 MiB past the kernel's own scratch and fault if nothing is there"
)
FAR_WINDOW = "beyond reach: a window of 2**31 tokens or more does not fit into int32; cases have smaller ones"
ALL_TILES = "beyond reach: no limit of splits; only a table for millions of tokens makes their scratch and programs too many"
UNDEFINED_DIM = "GPU only: dims beyond head_dim hold anything, and 0 * NaN is NaN; the interpreter reads 0"
UNDEFINED_V = "GPU only: V of masked tokens holds anything, and 0 * NaN is NaN; the interpreter reads 0"
WIDE_DOT = "GPU only: dots of float32 in place of 16 bits need twice the shared memory; the interpreter widens anyway"
MIXED_DOT = "GPU only: a dot of float32 and 16 bits does not compile; the interpreter's operands are all float32"
SMALL_DOT = "GPU only: below 16 dims a dot does not compile; the interpreter multiplies any, and no smaller head is drawn"
SHAPE = "GPU only: the interpreter has a shape of its own; there tiles may not fit into shared memory, or are only slower"
PRECISION = "GPU only: the interpreter computes in float32 whatever the precision is; how exact and quick a dot is shows on a GPU"
PRECISION_AMD = "GPU only: on NVIDIA's it is what it was; AMD's know no tf32x3, and the interpreter ignores it"
PRECISION_ELSE = "GPU only: NVIDIA's and AMD's get what they got, and the interpreter ignores it; others have no tf32x3"

EQUIVALENTS: dict[str, str] = {
    "off-by-one:_attend_split:i_split:pid -> (pid + 1):83b0": OTHER_PROGRAM,
    "off-by-one:_attend_split:i_kv:pid -> (pid + 1):3e81": OTHER_PROGRAM,
    "off-by-one:_attend_split:i_tile:pid -> (pid + 1):477e": OTHER_PROGRAM,
    "drop-cast:_attend_split:o_d:tl.arange(0, BLOCK_D).to(tl.int64) -> tl.arange(0, BLOCK_D):129e": SMALL_DIMS,
    "drop-cast:_attend_split:o_dv:tl.arange(0, BLOCK_DV).to(tl.int64) -> tl.arange(0, BLOCK_DV):2c5b": SMALL_DIMS,
    "off-by-one:_attend_split:i_head:o_row -> (o_row + 1):c827": OTHER_ROW,
    "drop-operand:_attend_split:first_query:* BLOCK_H:ecec": EARLIER,
    "drop-condition:_attend_split:last_query:tl.minimum((i_tile *...// group, q_len - 1) -> (q_len - 1):140b": LATER,
    "off-by-one:_attend_split:last_query:(i_tile * BLOCK_H + ...LOCK_H - 1) // group -> (((i_tile * BLOCK_H ... - 1) // group) + 1):534e": LATER,
    "drop-operand:_attend_split:last_query:// group:4317": LATER,
    "off-by-one:_attend_split:last_query:i_tile * BLOCK_H + BLOCK_H - 1 -> ((i_tile * BLOCK_H + BLOCK_H - 1) + 1):702f": LATER,
    "drop-operand:_attend_split:last_query:- 1:eab5": LATER,
    "change-operator:_attend_split:last_query:- -> +:24cd": LATER,
    "change-constant:_attend_split:last_query:1 -> 0:53d1": LATER,
    "drop-operand:_attend_split:first:+ first_query:f104": EARLIER,
    "drop-cast:_attend_split:o_tile:tl.arange(0, TILE).to(tl.int64) -> tl.arange(0, TILE):0835": SMALL_TILE,
    "change-constant:_attend_split:b_q:0.0 -> 1.0:32c9": Q_FILL,
    "drop-condition:_attend_split:if:WIDEN -> False:6925": WIDENED,
    "delete-statement:_attend_split:b_q:b_q = b_q.to(tl.float32) -> pass:bd12": WIDENED,
    "drop-cast:_attend_split:b_q:b_q.to(tl.float32) -> b_q:910a": WIDENED,
    "drop-mask:_attend_split:b_slope:, mask=m_row, other=0.0:e082": SLOPES,
    "drop-mask:_attend_split:b_slope:, other=0.0:92fd": SLOPES,
    "change-constant:_attend_split:b_slope:0.0 -> 1.0:e20e": SLOPES,
    "change-constant:_attend_split:b_sum:0.0 -> 1.0:13df": FIRST_TILE,
    "change-constant:_attend_split:b_out:0.0 -> 1.0:e1d8": FIRST_TILE,
    "off-by-one:_attend_split:i_t:last -> (last + 1):3e2b": EMPTY_TILE,
    "drop-mask:_attend_split:i_block:, other=0:4c5d": MASKED_BLOCK,
    "change-constant:_attend_split:i_block:0 -> 1:7fe2": MASKED_BLOCK,
    "drop-condition:_attend_split:b_k:& m_t[None, :]:94fd": K_OF_BLOCK_0,
    "change-constant:_attend_split:b_k:0.0 -> 1.0:5a67": K_FILL,
    "change-constant:_attend_split:b_v:0.0 -> 1.0:b4ae": V_FILL,
    "drop-cast:_attend_split:b_s:(o_t[None, :] - row_... + 1).to(tl.float32) -> (o_t[None, :] - row_last[:, None] + 1):ffad": PROMOTED,
    "change-constant:_attend_split:b_pivot:0.0 -> 1.0:ce8a": PIVOT,
    "replace-name:_attend_split:b_out:b_v -> b_k:0d9b": SAME_DTYPE,
    "change-constant:_attend_split:b_out:0.0 -> 1.0:9a4f": SUM_0_OR_1,
    "drop-cast:_merge_splits:o_dv:tl.arange(0, BLOCK_DV).to(tl.int64) -> tl.arange(0, BLOCK_DV):2c5b": SMALL_DIMS,
    "change-constant:_merge_splits:b_sum:0.0 -> 1.0:ea7b": FIRST_SPLIT,
    "change-constant:_merge_splits:b_out:0.0 -> 1.0:9529": FIRST_SPLIT,
    'drop-mask:_merge_splits:b_lse:, other=float("-inf"):8954': ROWS_NOT_STORED,
    'change-constant:_merge_splits:b_lse:float("-inf") -> 0.0:a29a': ROWS_NOT_STORED,
    "drop-mask:_merge_splits:b_part:, other=0.0:e4a7": PARTS_NOT_STORED,
    "change-constant:_merge_splits:b_part:0.0 -> 1.0:7516": PARTS_NOT_STORED,
    "change-constant:_merge_splits:b_pivot:0.0 -> 1.0:ce8a": PIVOT,
    'drop-mask:_merge_splits:b_sink:, mask=m_r, other=float("-inf"):c381': SINKS,
    'drop-mask:_merge_splits:b_sink:, other=float("-inf"):d713': SINKS,
    'change-constant:_merge_splits:b_sink:float("-inf") -> 0.0:f42c': SINKS,
    "change-constant:_merge_splits:b_pivot:0.0 -> 1.0:ce8a#2": PIVOT,
    "replace-name:_merge_splits:b_pivot:b_new -> b_max:6b74#2": SINK_PIVOT,
    "change-constant:_merge_splits:b_out:0.0 -> 1.0:a143": SUM_0_OR_1,
    "drop-cast:_merge_splits:tl.store:b_out.to(out.dtype.element_ty) -> b_out:afb8": STORE,
    "off-by-one:paged_decode:num_tiles:q_len * group -> ((q_len * group) + 1):4591": MORE_ROWS,
    "off-by-one:paged_decode:num_tiles:BLOCK_H -> (BLOCK_H - 1):8285": MORE_ROWS,
    "swap-arguments:paged_decode:num_splits, split_len:num_seqs * num_kv_heads, tile -> tile, num_seqs * num_kv_heads:012a": ANY_SPLITS,
    "swap-arguments:paged_decode:num_splits, split_len:tile, _programs_wanted(q.device) -> _programs_wanted(q.device), tile:1b70": ANY_SPLITS,
    "drop-operand:paged_decode:num_splits, split_len:* num_kv_heads:f53d": ANY_SPLITS,
    "replace-name:paged_decode:num_splits, split_len:num_seqs -> group:61f2": ANY_SPLITS,
    "replace-name:paged_decode:num_splits, split_len:num_kv_heads -> num_seqs:6ff2": ANY_SPLITS,
    "drop-cast:paged_decode:_attend_split:float(scale) -> scale:3634": FLOAT,
    "drop-cast:paged_decode:_attend_split:float(k_scale or 1.0) -> (k_scale or 1.0):0f84": FLOAT,
    "drop-cast:paged_decode:_attend_split:float(v_scale or 1.0) -> (v_scale or 1.0):7b7e": FLOAT,
    "drop-cast:paged_decode:_attend_split:float(softcap or 0.0) -> (softcap or 0.0):1a0d": FLOAT,
    "off-by-one:paged_decode:_attend_split:max_len -> (max_len + 1):f482": WINDOW,
    "off-by-one:paged_decode:_merge_splits:triton.cdiv(num_rows...um_q_heads, BLOCK_R) -> (triton.cdiv(num_row...heads, BLOCK_R) + 1):1b7f": MORE_ROWS,
    "off-by-one:paged_decode:_merge_splits:num_rows * num_q_heads -> ((num_rows * num_q_heads) + 1):14f3": MORE_ROWS,
    "off-by-one:paged_decode:_merge_splits:BLOCK_R -> (BLOCK_R - 1):4ec0": MORE_ROWS,
    "drop-condition:_shape_of_program:if:interpreted -> False:c077": TILE_ONLY,
    "off-by-one:_splits:tiles:max_len -> (max_len + 1):9247": ANY_SPLITS,
    "off-by-one:_splits:tiles:tile -> (tile + 1):d434": ANY_SPLITS,
    "off-by-one:_splits:tiles:tile -> (tile - 1):fa0e": ANY_SPLITS,
    "drop-condition:_splits:num_splits:max(1, min(MAX_SPLIT...iv(programs, rows))) -> 1:04af": ANY_SPLITS,
    "drop-condition:_splits:num_splits:max(1, min(MAX_SPLIT...iv(programs, rows))) -> min(MAX_SPLITS, tile...div(programs, rows)):cbdb": ONE_SPLIT,
    "change-operator:_splits:num_splits:max -> min:16a7": ANY_SPLITS,
    "change-constant:_splits:num_splits:1 -> 0:aa8d": ONE_SPLIT,
    "off-by-one:_splits:num_splits:min(MAX_SPLITS, tile...div(programs, rows)) -> (min(MAX_SPLITS, til...rograms, rows)) + 1):dd95": ANY_SPLITS,
    "off-by-one:_splits:num_splits:min(MAX_SPLITS, tile...div(programs, rows)) -> (min(MAX_SPLITS, til...rograms, rows)) - 1):96e6": ANY_SPLITS,
    "drop-condition:_splits:num_splits:min(MAX_SPLITS, tile...div(programs, rows)) -> MAX_SPLITS:860c": ANY_SPLITS,
    "drop-condition:_splits:num_splits:min(MAX_SPLITS, tile...div(programs, rows)) -> triton.cdiv(programs, rows):164c": ANY_SPLITS,
    "off-by-one:_splits:num_splits:MAX_SPLITS -> (MAX_SPLITS + 1):6fac": ANY_SPLITS,
    "off-by-one:_splits:num_splits:MAX_SPLITS -> (MAX_SPLITS - 1):63dc": ANY_SPLITS,
    "off-by-one:_splits:num_splits:tiles -> (tiles + 1):99a5": ANY_SPLITS,
    "off-by-one:_splits:num_splits:tiles -> (tiles - 1):a8b2": ANY_SPLITS,
    "off-by-one:_splits:num_splits:triton.cdiv(programs, rows) -> (triton.cdiv(programs, rows) + 1):b528": ANY_SPLITS,
    "off-by-one:_splits:num_splits:triton.cdiv(programs, rows) -> (triton.cdiv(programs, rows) - 1):57ba": ANY_SPLITS,
    "off-by-one:_splits:num_splits:programs -> (programs + 1):1086": ANY_SPLITS,
    "off-by-one:_splits:num_splits:programs -> (programs - 1):7465": ANY_SPLITS,
    "off-by-one:_splits:num_splits:rows -> (rows + 1):7028": ANY_SPLITS,
    "drop-operand:_splits:split_len:* tile:2f19": ANY_SPLITS,
    "off-by-one:_splits:split_len:tiles -> (tiles + 1):fb04": ANY_SPLITS,
    "off-by-one:_splits:split_len:num_splits -> (num_splits + 1):c2f3": ANY_SPLITS,
    "off-by-one:_splits:return:max_len -> (max_len + 1):de3e": EMPTY_SPLITS,
    "off-by-one:_splits:return:split_len -> (split_len - 1):cb50": EMPTY_SPLITS,
    'drop-condition:_programs_wanted:return:4 * torch.cuda.get_d...ype == "cuda" else 6 -> 6:5641': ANY_SPLITS,
    "drop-operand:_programs_wanted:return:* torch.cuda.get_dev...ulti_processor_count:3146": ANY_SPLITS,
    'drop-condition:paged_decode:_attend_split:"tf32x3" if q.is_cud... is None else "ieee" -> "ieee":e559': "ieee rounds less than tf32x3 does",
    "change-comparison:paged_decode:_attend_split:is -> is not:2356": "NVIDIA GPUs get ieee instead of tf32x3, which rounds less; the interpreter ignores it",
    "drop-condition:paged_decode:_attend_split:q.is_cuda and torch.version.hip is None -> (torch.version.hip is None):85ad": "NVIDIA and AMD GPUs get what they got, and the interpreter ignores it",
    "change-constant:_shape_of_program:return:2 -> 1:2f95": "pipelining changes no result, and one stage needs less memory",
    "change-constant:_shape_of_program:return:2 -> 1:9ee0": "pipelining changes no result, and one stage needs less memory",
    "drop-condition:_shape_of_program:if:row_bytes <= 1024 -> False:b219": "smaller tiles for short rows: they fit, and any tile gives the sum within the bound",
    "change-comparison:_shape_of_program:if:<= -> <:4ebf": "smaller tiles for rows of just 1024 bytes: they fit, and any tile gives the sum within the bound",
    "drop-condition:_shape_of_program:if:row_bytes <= 2048 -> False:4370": "smaller tiles for middling rows: they fit, and any tile gives the sum within the bound",
    "change-comparison:_shape_of_program:if:<= -> <:1f3b": "smaller tiles for rows of just 2048 bytes: they fit, and any tile gives the sum within the bound",
}

OUT_OF_REACH: dict[str, str] = {
    "drop-cast:_attend_split:pid:tl.program_id(0).to(tl.int64) -> tl.program_id(0):dc12": FAR_SCRATCH,
    "drop-mask:_attend_split:b_q:, other=0.0:ec51": UNDEFINED_DIM,
    "drop-condition:_attend_split:if:WIDEN -> True:dfb7": WIDE_DOT,
    "drop-mask:_attend_split:b_k:, other=0.0:bedc": UNDEFINED_DIM,
    "drop-mask:_attend_split:b_v:, other=0.0:b4dc": UNDEFINED_V,
    "drop-cast:_attend_split:b_out:b_p.to(b_v.dtype) -> b_p:5a74": MIXED_DOT,
    "drop-cast:_merge_splits:i_row:tl.program_id(0).to(tl.int64) -> tl.program_id(0):da1f": FAR_SCRATCH,
    'drop-mask:_merge_splits:b_lse:, mask=m_r, other=float("-inf"):2454': PAST_LSE,
    "drop-mask:_merge_splits:b_part:, mask=m_o, other=0.0:c10c": PAST_OUT,
    "drop-condition:paged_decode:block_d:max(16, triton.next_...ower_of_2(head_dim)) -> triton.next_power_of_2(head_dim):2ae6": SMALL_DOT,
    "drop-condition:paged_decode:block_dv:max(16, triton.next_...f_2(value_head_dim)) -> triton.next_power_of_2(value_head_dim):30d7": SMALL_DOT,
    "change-comparison:paged_decode:interpreted:== -> !=:37eb": WIDE_DOT,
    "swap-arguments:paged_decode:tile, options:(block_d + block_dv)..._size(), interpreted -> interpreted, (block_...) * q.element_size():0842": SHAPE,
    "drop-operand:paged_decode:tile, options:* q.element_size():7c8e": SHAPE,
    "drop-operand:paged_decode:tile, options:+ block_dv:92cd": SHAPE,
    "drop-operand:paged_decode:tile, options:block_d +:b218": SHAPE,
    "replace-name:paged_decode:tile, options:block_d -> block_dv:ed00": SHAPE,
    "replace-name:paged_decode:tile, options:block_dv -> block_d:de86": SHAPE,
    "drop-condition:paged_decode:_attend_split:min(window or max_len, max_len) -> (window or max_len):9a4c": FAR_WINDOW,
    'drop-condition:paged_decode:_attend_split:"tf32x3" if q.is_cud... is None else "ieee" -> "tf32x3":f403': PRECISION_AMD,
    "drop-condition:paged_decode:_attend_split:q.is_cuda and torch.version.hip is None -> q.is_cuda:0864": PRECISION_AMD,
    "drop-condition:_shape_of_program:if:interpreted -> True:6f48": SHAPE,
    "drop-condition:_shape_of_program:if:row_bytes <= 1024 -> True:34c7": SHAPE,
    'swap-arguments:_shape_of_program:return:64, {"num_warps": 4, "num_stages": 2} -> {"num_warps": 4, "num_stages": 2}, 64:2968': SHAPE,
    "drop-condition:_shape_of_program:if:row_bytes <= 2048 -> True:41f2": SHAPE,
    'swap-arguments:_shape_of_program:return:32, {"num_warps": 4, "num_stages": 2} -> {"num_warps": 4, "num_stages": 2}, 32:37e8': SHAPE,
    'swap-arguments:_shape_of_program:return:16, {"num_warps": 8, "num_stages": 1} -> {"num_warps": 8, "num_stages": 1}, 16:f83c': SHAPE,
    "change-constant:_shape_of_program:return:1 -> 0:bf11": SHAPE,
    "drop-condition:_splits:num_splits:min(MAX_SPLITS, tile...div(programs, rows)) -> tiles:2b8e": ALL_TILES,
    "change-operator:_splits:num_splits:min -> max:2a4c": ALL_TILES,
}
