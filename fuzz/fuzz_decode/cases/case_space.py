"""The part of all decode problems that a target can take: what cases are drawn from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fuzz_decode.cases.domain import CACHE_DTYPES, DTYPES
from fuzz_decode.cases.optional_arguments import OptionalArgument, generated_parameters
from fuzz_decode.cases.stride_rules import StrideRules


@dataclass(frozen=True, slots=True)
class CaseSpace:
    """Limits of drawn cases. None is no limit: every value of `cases.domain`, the first ones most often."""

    dtypes: tuple[str, ...] = DTYPES
    """Of q and, without a cache_dtype, of K and V."""
    cache_dtypes: tuple[str, ...] = CACHE_DTYPES
    """Of float8 caches, which need the options `k_scale` and `v_scale`."""
    head_dims: tuple[int, ...] | None = None
    value_head_dims: tuple[int, ...] | Literal["head_dim"] | None = None
    """`"head_dim"`: V's rows are as long as K's; None: mostly so, and any of VALUE_HEAD_DIMS now and then."""
    block_sizes: tuple[int, ...] | None = None
    groups: tuple[int, ...] | None = None
    num_kv_heads: tuple[int, ...] | None = None
    options: frozenset[str] = field(default_factory=generated_parameters)
    """Optional parameters that the target has; an option is drawn only if the target has all of its parameters."""
    min_seq_len: int = 0
    max_seq_len: int = 2048
    huge_spans: bool = True
    """Whether caches may reach beyond 2**31 elements (on few touched pages)."""
    strides: StrideRules = StrideRules()
    """What the target assumes of strides."""
    finite: tuple[str, ...] = ()
    """Places among FINITE_PLACES where the target needs finite numbers."""

    def takes(self, option: OptionalArgument) -> bool:
        """Whether the option may be used in a case."""
        narrow = option.field != "cache_dtype" or bool(self.cache_dtypes)
        return narrow and self.options >= option.parameters.keys()
