"""Lines of the kernel that faults of several kinds edit, and edits that several faults share."""

from __future__ import annotations

START = "    interpreted = q.device.type"
SEEN = 'b_s = tl.where(m_s, b_s, float("-inf"))'
V_BLOCK = "(i_block * s_vb + o_s * s_vs)"
K_MASK, V_MASK = "mask=m_k, other=0.0)", "mask=m_v, other=0.0)"

# most kernels mask what lies beyond the last token, in whose place this one loads the last token again
K_WITHOUT_TAIL = (K_MASK, "mask=(o_t < last)[:, None] & m_k, other=0.0)")
V_WITHOUT_TAIL = (V_MASK, "mask=(o_t < last)[:, None] & m_v, other=0.0)")


def looked_up_to(end: str) -> tuple[tuple[str, str], ...]:
    """Tokens up to `end` are looked up as what they are."""
    return tuple((f"{first}, last,", f"{first}, {end},") for first in ("first + o_tile", "o_t + TILE"))
