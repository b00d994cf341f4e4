"""Every fault that is known, the most likely first: of two that predict the same, the earlier one is named.

Add one to the file of what it changes: `addresses`, `lookup`, `visibility`, `options` or `scores_and_sums`.
"""

from __future__ import annotations

from fuzz_decode.diagnose.faults import addresses, lookup, options, scores_and_sums, visibility

FAULTS = (
    *addresses.cache_faults(),
    *visibility.tokens(),
    *lookup.heads(),
    *lookup.query_heads(),
    *scores_and_sums.returned(),
    *addresses.table_faults(),
    *addresses.query_faults(),
    *lookup.table_use(),
    *lookup.rows(),
    *visibility.queries(),
    *options.alibi(),
    *options.sinks(),
    *options.scales(),
    *scores_and_sums.scores(),
    *scores_and_sums.dims(),
)
