"""Tensors that a kernel may reach through addresses which its host put into memory, or passes as numbers."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

ADDRESSES = range(2**32, 2**48)  # of memory that a process allocates; no count of tokens is among them


def reachable_tensors(values: Iterable[Any]) -> list[Any]:
    """All live tensors, if some argument holds a number that may be an address; otherwise none. Each storage comes once."""
    import torch

    if not any(_may_hold_addresses(value, torch.int64) for value in values):
        return []
    live = (value for value in gc.get_objects() if issubclass(type(value), torch.Tensor))
    on_host = (tensor for tensor in live if tensor.layout is torch.strided and tensor.device.type == "cpu")
    return list({tensor.untyped_storage().data_ptr(): tensor for tensor in on_host}.values())


def _may_hold_addresses(value: Any, dtype: Any) -> bool:
    """Whether it is such a number, or a tensor of this dtype with one."""
    if isinstance(value, int):
        return value in ADDRESSES
    if getattr(value, "dtype", None) is not dtype:
        return False
    return bool(((value >= ADDRESSES.start) & (value < ADDRESSES.stop)).any())
