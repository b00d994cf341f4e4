"""Cases drawn for a seed, call sequences and tensors are, bit for bit, those of 0cd7ff7, before modules were moved."""

from __future__ import annotations

import hashlib
import itertools

import pytest
import torch

from fuzz_decode.cases.case import Case
from fuzz_decode.cases.serialization import canonical_json
from fuzz_decode.generate.case_stream import call_stream, case_stream
from fuzz_decode.problems.build import build_problem
from fuzz_decode.targets.resolve import resolve

BEFORE = {
    0: ("468ef28fcae6fccf", "9764f62877c5dfd2", "d57e9ddc25a713e7"),
    1: ("b7c7318675a23bd1", "3f3a85f49366972d", "834c77570eb35ef0"),
    2: ("f480ac4eead0b022", "d56a880fb9ab8c93", "43829368bb16023e"),
    3: ("670cd342d227eece", "923e88e50a43631b", "a31708805d2393e4"),
}
BUILT = {0: 300, 1: 300, 2: 60, 3: 60}  # cases of a seed whose tensors are compared


def tensors(case: Case) -> bytes:
    if max(placed.extent for placed in case.layouts().values()) > 2**22:
        return b""
    buffers = build_problem(case, "cpu").buffers
    return b"".join(buffers[name].storage.view(torch.uint8).numpy().tobytes() for name in sorted(buffers))


def digest(parts: bytes) -> str:
    return hashlib.sha256(parts).hexdigest()[:16]


@pytest.mark.parametrize("seed", BEFORE)
def test_cases_tensors_and_calls_are_as_before(seed: int) -> None:
    space = resolve("bundled").case_space()
    cases = list(itertools.islice(case_stream(seed, space), 300))
    calls = itertools.chain.from_iterable(itertools.islice(call_stream(seed, space, 3), 40))

    assert BEFORE[seed] == (
        digest("\n".join(map(canonical_json, cases)).encode()),
        digest(b"".join(map(tensors, cases[: BUILT[seed]]))),
        digest("\n".join(map(canonical_json, calls)).encode()),
    )
