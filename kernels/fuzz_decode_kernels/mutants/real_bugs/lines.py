"""Lines of the kernel that faults of several kinds edit, and edits that several faults share."""

from __future__ import annotations

START = "    interpreted = q.device.type"
SEEN = 'b_s = tl.where(m_s, b_s, float("-inf"))'
LAST = "last = tl.minimum(seq_first + (end - before) * TILE, seq_last)"

# strides of blocks and slots are counted in vectors of UNIT elements
K_BLOCK = "(i_block * s_kb + o_s * s_ks)"
V_BLOCK = "(i_block * s_vb + o_s * s_vs)"
K_TOKEN, V_TOKEN = K_BLOCK + ".to(tl.int64) * UNIT", V_BLOCK + ".to(tl.int64) * UNIT"
# a stride rebuilt from that of an axis of size 1, which may be any, need not be a whole number of vectors
IN_ELEMENTS = ("UNIT=vec if all(", "UNIT=1 if all(")
K_SLOT, V_SLOT = "(o_s * s_ks).to(tl.int64) * UNIT", "(o_s * s_vs).to(tl.int64) * UNIT"

# most kernels mask the tokens beyond the last one; this kernel loads the last token again instead
K_MASK, V_MASK = "mask=m_k, other=0.0)", "mask=m_v, other=0.0)"
K_WITHOUT_TAIL = (K_MASK, "mask=(o_t < last)[:, None] & m_k, other=0.0)")
V_WITHOUT_TAIL = (V_MASK, "mask=(o_t < last)[:, None] & m_v, other=0.0)")


def looked_up_to(end: str) -> tuple[tuple[str, str], ...]:
    """Edits after which tokens up to `end` are looked up in the block table, not the last one again."""
    return tuple((f"{first}, last,", f"{first}, {end},") for first in ("first + o_tile", "o_t + TILE"))
