"""The values that fields of a case can take, the limits of tensors that are built, and the sizes that are drawn."""

from __future__ import annotations

HEAD_DIMS = (16, 32, 64, 128, 40, 72, 80, 96, 192, 256, 576, 560)
VALUE_HEAD_DIMS = (16, 32, 64, 128, 40, 72, 80, 96, 192, 256, 512)
BLOCK_SIZES = (1, 16, 2, 4, 8, 32, 3, 5, 64, 24, 128, 256, 480, 528, 544, 1056)
GROUPS = (1, 2, 4, 3, 8, 5, 6, 7, 16, 17, 20, 24, 29, 32, 40, 48, 64, 71)
MAX_COMMON_GROUP = 16  # kernels with tiles of 16 query heads take larger groups apart
NUM_KV_HEADS = (1, 2, 3, 4, 8)

DTYPES = ("float32", "float16", "bfloat16")
CACHE_DTYPES = ("float8_e4m3fn", "float8_e5m2")  # beside the dtype of q
DATA_MODES = ("gaussian", "uniform", "large", "tagged")
PLACEMENTS = ("identity", "reversed", "permuted")
UNUSED_ENTRIES = {"zero": 0, "minus one": -1, "huge": 2**31 - 1, "stale": None}
BEYOND = ("minus one", "zero", "valid")
FINITE_PLACES = {  # where memory that weighs nothing can hold finite numbers in place of NaN
    "tail": "slots after the end of a sequence",
    "before_window": "tokens before the window",
    "unreferenced": "blocks that no sequence uses",
    "padding": "gaps between rows, other planes and layers, and what lies beyond a tensor's ends",
    "allocations": "what the target allocates",
}
MAX_SPAN = 2**33  # elements from the start to the end of one tensor; 16 GiB of float16, lazily committed on the CPU
MAX_SMALL_SPAN = 2**26  # the same for q, out and the block table, which are always filled
MAX_LIVE = 2**27  # elements of K that sequences really use
MAX_TABLE = 2**22
