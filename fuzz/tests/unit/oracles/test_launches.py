"""What an engine notices while kernels run is a finding that outranks the values that came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sample_targets
import torch
from torch import Tensor

from fuzz_decode.cases.case import Case
from fuzz_decode.execute import run_and_judge as module
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.launches.record import LaunchRecord, OutOfBoundsAccess, Place, UndefinedUse, UnwrittenRead
from fuzz_decode.outcome import Outcome
from fuzz_decode.targets import Arithmetic
from fuzz_decode.targets.target import target_from_function

PLACE = Place("/kernels/decode.py", 42, (3, 0, 0))
ACCESS = OutOfBoundsAccess("k_cache", 256, stored=False, bytes=512, place=PLACE)
TWO = Case(seq_lens=(3, 2), num_kv_heads=2, block_size=2)


class Engine:
    """Stands for an engine that runs programs in several orders."""

    def __init__(self) -> None:
        self.record = LaunchRecord()
        self.order: Any = None

    @contextlib.contextmanager
    def watched(self, order: Any = None) -> Iterator[LaunchRecord]:
        self.order = order
        yield self.record


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr(module, "watched", engine.watched)
    monkeypatch.setattr(module, "another_order", lambda seed: "backward")
    return engine


def outcome(fn: Callable[..., Any], **limits: Any) -> Outcome:
    return run_case(TWO, target_from_function("sample", fn, **limits), "cpu")


def test_an_access_out_of_bounds_outranks_a_wrong_value(engine: Engine) -> None:
    engine.record.out_of_bounds, engine.record.out_of_bounds_elements = ACCESS, 17
    first, second = outcome(sample_targets.five_percent_off).findings

    assert (first.signature, first.wrong) == ("out-of-bounds-k_cache:call", 17)
    assert first.message == (
        "k_cache was read 512 bytes after its storage in line 42 of decode.py, program (3, 0, 0), 17 elements in all"
    )
    assert second.signature == "wrong-value:out"


def test_a_store_before_a_storage_is_told_from_a_read(engine: Engine) -> None:
    engine.record.out_of_bounds = OutOfBoundsAccess("out", -2, stored=True, bytes=-8, place=PLACE)
    (finding,) = outcome(sample_targets.honest).findings

    assert finding.message.startswith("out was written 8 bytes before its storage in line 42")


@pytest.mark.parametrize(
    ("use", "tensor", "signature"),
    [
        ("address", "k_cache", "undefined-value-k_cache:call"),
        ("mask", "k_cache", "undefined-value-k_cache:call"),
        ("branch", "", "undefined-value-branch:call"),
    ],
)
def test_an_undefined_value_that_decides_something_is_a_finding(use: str, tensor: str, signature: str, engine: Engine) -> None:
    engine.record.undefined, engine.record.undefined_elements = [UndefinedUse(use, tensor, PLACE)], 3
    (finding,) = outcome(sample_targets.honest).findings

    assert finding.signature == signature
    assert finding.message.startswith("the value of a masked lane ")
    assert finding.message.endswith(" in line 42 of decode.py, program (3, 0, 0), 3 elements in all")


def test_an_undefined_value_is_a_finding_where_it_is_stored_to_a_result(engine: Engine) -> None:
    def stores(q: Tensor, *rest: Any, out: Tensor) -> Tensor:
        storage = out.untyped_storage().data_ptr()
        engine.record.undefined = [UndefinedUse("store", "result", PLACE, storage)]
        return out.copy_(sample_targets.honest(q, *rest)[0])

    (finding,) = outcome(stores).findings
    assert finding.signature == "undefined-value-result:call"


def test_an_undefined_value_in_scratch_memory_is_no_finding(engine: Engine) -> None:
    scratch = torch.zeros(4)
    engine.record.undefined = [UndefinedUse("store", "scratch", PLACE, scratch.data_ptr())]

    assert outcome(sample_targets.honest).findings == ()


def test_scratch_memory_does_not_hide_a_result_that_is_undefined(engine: Engine) -> None:
    def stores(q: Tensor, *rest: Any, out: Tensor) -> Tensor:
        storages = (0, out.untyped_storage().data_ptr())
        engine.record.undefined = [UndefinedUse("store", f"tensor{storage > 0}", PLACE, storage) for storage in storages]
        return out.copy_(sample_targets.honest(q, *rest)[0])

    (finding,) = outcome(stores).findings
    assert finding.signature == "undefined-value-tensorTrue:call"


def test_memory_that_nothing_wrote_is_named(engine: Engine) -> None:
    read = UnwrittenRead("counter, int32 [4]", Place("/kernels/decode.py", 40, (2, 0, 0)))
    engine.record.undefined = [UndefinedUse("branch", "", PLACE, unwritten=read)]
    engine.record.undefined_elements = 1
    (finding,) = outcome(sample_targets.honest).findings

    assert finding.signature == "undefined-value-counter:call"
    assert finding.message == (
        "the kernel reads memory that nothing wrote, of counter, int32 [4], in line 40 of decode.py, program (2, 0, 0): "
        "it decides a branch in line 42 of decode.py, program (3, 0, 0), 1 element in all"
    )


def racing(engine: Engine) -> Callable[..., Tensor]:
    """The last program wins."""

    def target(q: Tensor, *rest: Any) -> Tensor:
        found, _ = sample_targets.honest(q, *rest)
        return found + (engine.order == "backward") * found.abs().max() * 2.0**-23

    return target


@pytest.mark.parametrize("same_bits_anywhere", [False, True])
def test_a_difference_of_another_order_alone_is_a_race(same_bits_anywhere: bool, engine: Engine) -> None:
    (finding,) = outcome(racing(engine), arithmetic=Arithmetic(same_bits_anywhere=same_bits_anywhere)).findings

    assert (finding.oracle, finding.signature) == ("determinism", "order-dependent:out")
    assert finding.message.endswith("of a second run with programs in another order")


def test_a_difference_of_any_second_run_is_nondeterminism(engine: Engine) -> None:
    calls = iter(range(1, 9))

    def flickers(q: Tensor, *rest: Any) -> Tensor:
        found, _ = sample_targets.honest(q, *rest)
        return found + next(calls) * found.abs().max() * 2.0**-23

    (finding,) = outcome(flickers).findings
    assert finding.signature == "nondeterministic:out"


def test_a_target_that_is_not_deterministic_may_depend_on_the_order(engine: Engine) -> None:
    assert outcome(racing(engine), arithmetic=Arithmetic(deterministic=False)).findings == ()
