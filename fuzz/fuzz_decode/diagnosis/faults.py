"""Every fault that is known, the most likely first: of two that predict the same, the earlier one is named.

Add one where it belongs by what it changes: `addresses`, `scope`, `options` or `sums`.
"""

from __future__ import annotations

from fuzz_decode.diagnosis import addresses, options, scope, sums

FAULTS = (
    *addresses.cache_faults(),
    *scope.tokens(),
    *scope.heads(),
    *scope.query_heads(),
    *sums.returned(),
    *addresses.table_faults(),
    *addresses.query_faults(),
    *scope.table_use(),
    *scope.rows(),
    *scope.queries(),
    *options.alibi(),
    *options.sinks(),
    *options.scales(),
    *sums.scores(),
    *sums.dims(),
)
