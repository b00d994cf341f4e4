"""The bench but for its clock: what is measured, that wrong kernels are not, what is counted, and how it is told."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from machine import DEVICE
from rich.console import Console
from torch import Tensor

from fuzz_decode.bench.bandwidth import Bandwidth
from fuzz_decode.bench.contenders import PEERS, PROJECTS, Contender, call_of, own, peers
from fuzz_decode.bench.correctness_gate import FEW_TOKENS, CorrectnessGate
from fuzz_decode.bench.inputs import build_inputs, copies
from fuzz_decode.bench.layouts import LAYOUTS
from fuzz_decode.bench.peer_calls import flashinfer, flashinfer_mla
from fuzz_decode.bench.results import FAILED, TIMED, UNSUPPORTED, WRONG, BenchResult, ratios
from fuzz_decode.bench.runner import Bench
from fuzz_decode.bench.selection import Choice, choose
from fuzz_decode.bench.shapes import SHAPES, BenchShape, cache_bytes, operations, total_bytes
from fuzz_decode.bench.timing import MAX_CALLS, Timing, measure, rounds, spread
from fuzz_decode.cli import CLEAN, FINDINGS, INTERRUPTED, USAGE, main
from fuzz_decode.errors import UsageError
from fuzz_decode.report.bench_json import bench_data
from fuzz_decode.report.roofline_plot import draw_roofline
from fuzz_decode.report.terminal import bench_list
from fuzz_decode.report.terminal.bench import BenchView
from fuzz_decode.targets.listing import BuiltIn
from fuzz_decode.targets.target import target, target_from_function
from fuzz_decode_reference import gather_attention

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),  # log(0) in the interpreter is meant
]
ROOF = Bandwidth(3000.0, "in some way", 2900.0)
TINY = BenchShape("tiny", (20, 5), 4, 2, 16, 16, 4)
TINY_SHAPES = {
    "plain": TINY,
    "window": dataclasses.replace(TINY, window=7),
    "q_len": dataclasses.replace(TINY, q_len=3),
    "fp8": dataclasses.replace(TINY, cache_dtype="float8_e4m3fn"),
    "MLA": dataclasses.replace(TINY, num_kv_heads=1, head_dim=24, mla=True),
}


def tick(calls: Sequence[Callable[[], Any]]) -> Timing:
    """A clock for tests."""
    for call in calls:
        call()
    return Timing(2.0, 1.9, 2.2)


def bench_of(
    *contenders: Contender, shapes: tuple[BenchShape, ...] = (TINY,), layouts: tuple[str, ...] = ("interleaved",)
) -> Bench:
    return Bench(Choice(shapes, layouts), contenders, DEVICE, tick)


def contender(fn: Callable[..., Any], project: str = "", mode: str = "") -> Contender:
    understood = target_from_function(fn.__name__, fn)
    return Contender(f"{project} {mode}".strip() or fn.__name__, understood, call_of(understood), project, mode)


def right(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float) -> Tensor:
    return gather_attention(q, k, v, table, lens, scale)[0].to(q.dtype)


def broken(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float) -> Tensor:
    raise ValueError("no such tile\nand more")


def forgetful(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float, *, out: Tensor) -> Tensor:
    out[:1] = right(q, k, v, table, lens, scale)[:1]
    return out


# what is measured


def test_the_anchors_are_those_of_the_design() -> None:
    sizes = {
        name: (len(shape.seq_lens), shape.num_q_heads, shape.num_kv_heads, shape.head_dim, shape.block_size, shape.seq_lens[0])
        for name, shape in SHAPES.items()
    }
    assert [*sizes.values()][:5] == [
        (64, 32, 8, 128, 16, 4096),
        (1, 32, 8, 128, 16, 65536),
        (16, 32, 32, 128, 16, 2048),
        (128, 64, 8, 128, 64, 1024),
        (8, 8, 1, 128, 32, 8192),
    ]
    assert all(name == shape.name for name, shape in SHAPES.items())


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("gqa-4k", 2**30),
        ("mqa-8k", 8 * 8192 * 128 * 2 * 2),
        ("fp8", 2**29),
        ("mla-128", 64 * 4096 * 576 * 2),
        ("window-1k", 2**28),
        ("one-long", (65536 + 63 * 256) * 8 * 128 * 2 * 2),
    ],
)
def test_bytes_are_those_that_must_be_read(shape: str, expected: int) -> None:
    case = LAYOUTS["permuted"].case(SHAPES[shape])
    assert cache_bytes(case) == expected
    rows = case.num_rows * case.num_q_heads * (case.head_dim + case.value_head_dim) * 2
    assert total_bytes(case) == expected + rows


def test_bytes_do_not_hang_on_the_layout() -> None:
    for shape in (TINY, TINY_SHAPES["fp8"]):
        assert len({total_bytes(arrangement.case(shape)) for arrangement in LAYOUTS.values()}) == 1


def test_operations_count_what_each_query_token_sees() -> None:
    plain, window, speculative = (LAYOUTS["HND"].case(TINY_SHAPES[name]) for name in ("plain", "window", "q_len"))
    assert operations(plain) == 2 * (20 + 5) * 4 * 32
    assert operations(window) == 2 * (7 + 5) * 4 * 32
    assert operations(speculative) == 2 * (18 + 19 + 20 + 3 + 4 + 5) * 4 * 32


def test_layouts_have_the_strides_that_they_are_named_for() -> None:
    def strides(name: str) -> tuple[int, ...]:
        inputs = build_inputs(LAYOUTS[name].case(TINY), "cpu")
        (k, v), *_ = inputs.caches
        assert k.stride() == v.stride()
        return k.stride()

    assert strides("contiguous") == strides("permuted") == (128, 32, 16, 1)
    assert strides("HND") == (128, 16, 64, 1)
    assert strides("interleaved") == (256, 32, 16, 1)
    assert strides("padded") == (128 + 32, 32, 16, 1)
    assert strides("misaligned") == (4 * 34, 34, 17, 1)


def test_with_one_kv_head_rows_are_misaligned_all_the_same() -> None:
    (k, _), *_ = build_inputs(LAYOUTS["misaligned"].case(TINY_SHAPES["MLA"]), "cpu").caches
    assert k.stride(1) == 25


def test_every_block_is_used_once_and_holds_numbers() -> None:
    inputs = build_inputs(LAYOUTS["permuted"].case(TINY), "cpu")
    used = [*inputs.block_table[0].tolist(), *inputs.block_table[1, :2].tolist()]
    assert sorted(used) == [*range(7)]
    assert used != sorted(used)
    for cache in inputs.caches[0]:
        assert bool((cache != 0).any(-1).all())  # in bfloat16 a normal number may be 0
        assert 0.8 < cache.double().std() < 1.2


def test_a_small_cache_is_copied_until_l2_is_too_small() -> None:
    l2 = 50 * 2**20
    assert copies(LAYOUTS["permuted"].case(SHAPES["mqa-8k"]), l2) == 7
    assert copies(LAYOUTS["permuted"].case(SHAPES["gqa-4k"]), l2) == 1


def test_mla_lies_in_no_layout_with_v_apart() -> None:
    names = {(shape.name, arrangement.name) for shape, arrangement in choose((), ()).cells()}
    assert ("gqa-4k", "misaligned") in names
    assert ("mla-16", "permuted") in names
    assert ("mla-16", "interleaved") not in {
        (shape.name, arrangement.name) for shape, arrangement in choose(("mla-16", "gqa-4k"), ("interleaved",)).cells()
    }


# the gate


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", TINY_SHAPES)
def test_the_gate_is_quiet_on_the_bundled_kernel(kind: str, layout: str) -> None:
    shape, bundled = TINY_SHAPES[kind], own("bundled")
    if LAYOUTS[layout].unsupported_reason(shape):
        pytest.skip("V lies in K's rows")
    inputs = build_inputs(LAYOUTS[layout].case(shape), DEVICE)
    assert CorrectnessGate(inputs).error_of(bundled.plan(inputs, *inputs.caches[0]), bundled.target) == ""


def test_a_kernel_that_rebuilds_strides_is_wrong_where_k_and_v_are_interleaved_and_is_not_timed() -> None:
    mutant = own("mutant:k-block-stride-dense")
    rows = {row.layout: row for row in bench_of(mutant, layouts=("contiguous", "interleaved")).measured()}
    assert rows["contiguous"].status == TIMED
    assert rows["interleaved"].status == WRONG
    assert rows["interleaved"].timing is None
    assert "elements checked are wrong" in rows["interleaved"].note
    assert rows["interleaved"].is_finding


def test_what_is_not_written_is_wrong() -> None:
    (row,) = bench_of(contender(forgetful)).measured()
    assert (row.status, row.note) == (WRONG, "64 of 128 elements of out are NaN or infinite")


def test_of_many_tokens_the_first_the_last_and_the_longest_sequence_are_checked() -> None:
    def checked(lengths: tuple[int, ...]) -> list[int]:
        case = LAYOUTS["permuted"].case(dataclasses.replace(TINY, seq_lens=lengths, num_q_heads=1, num_kv_heads=1))
        return CorrectnessGate(build_inputs(case, "cpu")).sequences()

    assert checked((4, 5, 6, 7)) == [0, 1, 2, 3]
    assert checked((4, 5, FEW_TOKENS, 7)) == [0, 2, 3]
    assert checked((FEW_TOKENS, 5, 5, 7)) == [0, 3]


# the bench


def test_what_one_contender_raises_costs_no_other_row() -> None:
    bench = bench_of(contender(right), contender(broken, "peer", "a"), contender(right, "peer", "b"))
    rows = [*bench.measured()]
    assert [row.status for row in rows] == [TIMED, FAILED, TIMED]
    assert rows[1].note == "ValueError: no such tile and more"
    assert not any(row.is_finding for row in rows)
    assert bench.complete
    assert bench.rows == rows


def test_a_target_that_raises_is_a_finding() -> None:
    (row,) = bench_of(contender(broken)).measured()
    assert (row.status, row.is_finding) == (FAILED, True)


def test_what_a_target_does_not_take_is_no_failure() -> None:
    @target(head_dims=(64,))
    def picky(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float) -> Tensor:
        raise AssertionError("is not called")

    def later(q: Tensor, k: Tensor, v: Tensor, table: Tensor, lens: Tensor, scale: float) -> Tensor:
        raise NotImplementedError("not today")

    rows = [*bench_of(contender(picky), contender(later)).measured()]
    assert [(row.status, row.note) for row in rows] == [(UNSUPPORTED, "head_dim 16"), (UNSUPPORTED, "not today")]
    assert not any(row.is_finding for row in rows)


def test_no_memory_for_the_caches_is_told_and_the_next_shape_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(case: Any, device: str) -> Any:
        if case.head_dim == 16:
            raise torch.OutOfMemoryError("full")
        return build_inputs(case, device)

    monkeypatch.setattr("fuzz_decode.bench.runner.build_inputs", full)
    larger = dataclasses.replace(TINY, head_dim=32, value_head_dim=32)
    rows = [*bench_of(contender(right), shapes=(TINY, larger)).measured()]
    assert [(row.status, row.note) for row in rows] == [(UNSUPPORTED, "not enough memory"), (TIMED, "")]
    assert not any(row.is_finding for row in rows)


def test_a_device_that_died_ends_the_bench_but_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "_device_works", lambda self: False)
    bench = bench_of(contender(right), contender(broken, "peer"), contender(right, "other"))
    assert [row.status for row in bench.measured()] == [TIMED, FAILED]
    assert (bench.complete, bench.lost) == (False, "peer on tiny, interleaved")


def test_samples_are_long_and_captures_are_bounded() -> None:
    assert rounds(3.0, 1) == 1
    assert rounds(0.1, 1) == 15
    assert rounds(1e-9, 7) * 7 <= MAX_CALLS
    assert spread([float(number) for number in range(1, 12)]) == (6.0, 2.0, 10.0)


class VirtualGPU:
    """A device whose time passes by `work` alone, and whose graphs replay what was captured."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.recording = 0.0, None
        for name in ("CUDAGraph", "graph", "Event"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)

    def work(self, milliseconds: float) -> None:
        if self.recording is None:
            self.now += milliseconds
        else:
            self.recording.append(milliseconds)

    def wait(self) -> None:
        if self.recording is not None:
            raise RuntimeError("not permitted\nwhile a stream is captured")

    def CUDAGraph(self) -> Any:
        kept: list[float] = []
        return SimpleNamespace(kept=kept, replay=lambda: self.work(sum(kept)))

    @contextlib.contextmanager
    def graph(self, graph: Any, capture_error_mode: str) -> Iterator[None]:
        self.recording = graph.kept
        try:
            yield
        except RuntimeError:
            raise ValueError("the capture failed") from None
        finally:
            self.recording = None

    def Event(self, enable_timing: bool) -> Any:
        event = SimpleNamespace(at=0.0)
        event.record = lambda: setattr(event, "at", self.now)
        event.elapsed_time = lambda end: end.at - event.at
        return event


def test_the_time_is_that_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = VirtualGPU(monkeypatch)
    timing = measure([lambda: gpu.work(0.25), lambda: gpu.work(0.75)])
    assert (timing.ms, timing.ms_low, timing.ms_high, timing.captured) == (pytest.approx(0.5),) * 3 + (True,)


def test_what_cannot_be_captured_is_timed_all_the_same_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = VirtualGPU(monkeypatch)

    def waits() -> None:
        gpu.work(0.5)
        gpu.wait()

    timing = measure([waits])
    assert (timing.ms, timing.captured, timing.why) == (pytest.approx(0.5), False, "RuntimeError: not permitted")
    assert measure([lambda: gpu.work(0.5)]).captured


@pytest.mark.gpu
def test_a_call_that_synchronises_is_timed_outside_a_graph_and_the_next_one_inside_again() -> None:
    numbers = torch.randn(1000, device="cuda")
    waits = measure([lambda: numbers.sum().item()], samples=5)
    flows = measure([lambda: numbers.sum()], samples=5)
    assert (waits.captured, flows.captured) == (False, True)
    assert waits.why
    assert 0 < flows.ms_low <= flows.ms <= flows.ms_high < waits.ms


# peers


class PagedWrapper:
    """FlashInfer's wrapper, by its documentation."""

    def __init__(self, workspace: Tensor, layout: str, **options: Any) -> None:
        self.layout = layout

    def plan(
        self, indptr: Tensor, indices: Tensor, last: Tensor, *sizes: int, window_left: int, sm_scale: float, **_: Any
    ) -> None:
        self.table = torch.zeros(len(last), int(indptr.diff().max()), dtype=torch.int32, device=indices.device)
        for row, start, end in zip(self.table, indptr.tolist(), indptr[1:].tolist(), strict=False):
            row[: end - start] = indices[start:end]
        self.lens = (indptr.diff() - 1) * sizes[3] + last
        self.window, self.scale = None if window_left < 0 else window_left + 1, sm_scale

    def run(
        self, q: Tensor, caches: tuple[Tensor, Tensor], *, out: Tensor, k_scale: float | None, v_scale: float | None
    ) -> Tensor:
        k, v = caches if self.layout == "NHD" else (cache.transpose(1, 2) for cache in caches)
        options = {"window": self.window, "k_scale": k_scale, "v_scale": v_scale}
        return out.copy_(gather_attention(q, k, v, self.table, self.lens, self.scale, **options)[0])


class MLAWrapper:
    """FlashInfer's wrapper for MLA, by its documentation."""

    def __init__(self, workspace: Tensor, *, backend: str) -> None:
        assert backend == "fa3"

    def plan(self, queries: Tensor, indptr: Tensor, indices: Tensor, lens: Tensor, *rest: Any) -> None:
        assert queries.tolist() == [0, 1, 2]
        heads, ckv, kpe, page_size, causal, self.scale, *_ = rest
        assert (heads, ckv, kpe, page_size, causal) == (4, 16, 8, 4, False)
        self.lens, self.table = lens, torch.zeros(2, 5, dtype=torch.int32, device=lens.device)
        for row, start, end in zip(self.table, indptr.tolist(), indptr[1:].tolist(), strict=False):
            row[: end - start] = indices[start:end]

    def run(self, q_nope: Tensor, q_pe: Tensor, ckv: Tensor, kpe: Tensor, *, out: Tensor) -> Tensor:
        q, k, v = torch.cat([q_nope, q_pe], -1), torch.cat([ckv, kpe], -1)[:, :, None], ckv[:, :, None]
        return out.copy_(gather_attention(q, k, v, self.table, self.lens, self.scale)[0])


@pytest.fixture
def wrappers(monkeypatch: pytest.MonkeyPatch) -> None:
    mla = SimpleNamespace(BatchMLAPagedAttentionWrapper=MLAWrapper)
    package = SimpleNamespace(BatchDecodeWithPagedKVCacheWrapper=PagedWrapper, mla=mla)
    monkeypatch.setitem(sys.modules, "flashinfer", package)
    monkeypatch.setitem(sys.modules, "flashinfer.mla", mla)


@pytest.mark.usefixtures("wrappers")
@pytest.mark.parametrize("layout", ["contiguous", "HND", "interleaved", "padded"])
@pytest.mark.parametrize("kind", ["plain", "window", "fp8"])
def test_flashinfer_is_planned_once_and_gets_views(kind: str, layout: str) -> None:
    plan = flashinfer(use_tensor_cores=False)
    peer = Contender("flashinfer", own("bundled").target, plan, "flashinfer")
    (row,) = bench_of(peer, shapes=(TINY_SHAPES[kind],), layouts=(layout,)).measured()
    assert (row.status, row.note) == (TIMED, "")


@pytest.mark.usefixtures("wrappers")
def test_flashinfer_gets_both_parts_of_mla() -> None:
    peer = Contender("flashinfer MLA", own("bundled").target, flashinfer_mla("fa3"), "flashinfer")
    (row,) = bench_of(peer, shapes=(TINY_SHAPES["MLA"],), layouts=("permuted",)).measured()
    assert (row.status, row.note) == (TIMED, "")


def test_torch_flex_attends_to_the_pool_itself() -> None:
    if DEVICE == "cuda":
        pytest.skip("compiles for long")
    (flex,), _ = peers(("torch-flex",))
    shape = BenchShape("flex", (40, 7), 4, 2, 64, 64, layouts=("permuted",))
    (row,) = bench_of(flex, shapes=(shape,), layouts=("permuted",)).measured()
    assert (row.status, row.note) == (TIMED, "")


def test_peers_that_are_not_installed_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz_decode.targets.partial_import.version", lambda distribution: None)
    found, missing = peers(None)
    assert found == []
    assert [*missing] == [f"{peer.project} {peer.mode}".strip() for peer in PEERS if peer.by_default]
    with pytest.raises(UsageError, match=r"^target vllm-unified: vllm is not installed; pip install --no-deps vllm"):
        peers(("vllm",))


# how it is told

LONG = Timing(4.0, 3.9, 4.4)


def row(target: str, timing: Timing | None, status: str = TIMED, note: str = "", *, layout: str = "permuted") -> BenchResult:
    project, _, mode = target.partition(" ") if target != "mine" else ("", "", "")
    return BenchResult("gqa-4k", layout, target, project, mode, status, note, timing, 6 * 10**9, 10**12)


CANNED = (
    row("mine", Timing(2.0, 1.9, 2.2)),
    row("fast a", LONG),
    row("fast b", Timing(3.0, 2.9, 3.1)),
    row("other", None, WRONG, "3 of the 9 elements checked are wrong, by up to 1.5"),
    row("mine", Timing(2.5, 2.4, 2.6, captured=False, why="it waits"), note="not in a CUDA graph", layout="HND"),
    row("fast a", None, UNSUPPORTED, "no HND", layout="HND"),
    row("fast b", None, FAILED, "RuntimeError: \x1b[31mno", layout="HND"),
    row("other", LONG, layout="HND"),
)


def canned() -> Bench:
    bench = bench_of(contender(right))
    bench.rows = list(CANNED)
    return bench


def told() -> str:
    file = io.StringIO()
    view = BenchView(Console(file=file, width=120, color_system=None), ROOF)
    view.header({"torch": "2.x", "gpu": "H100"}, {"sglang": "is not installed"})
    for each in CANNED:
        view.show(each)
    view.summary(canned())
    return file.getvalue()


def test_ratios_are_to_the_fastest_mode_of_each_project() -> None:
    found = [(each.layout, each.project, each.mode, each.ratio) for each in ratios(CANNED)]
    assert found == [("permuted", "fast", "b", 1.5), ("HND", "other", "", 1.6)]


def test_the_table_says_what_was_asked() -> None:
    lines = [line.split() for line in told().splitlines()]
    assert ["shape", "layout", "ms", "10%", "-", "90%", "GB/s", "of", "read", "fast", "other"] in lines
    assert ["gqa-4k", "permuted", "2", "1.9", "-", "2.2", "3000", "100%", "1.50", "b", "wrong"] in lines
    assert ["gqa-4k", "HND", "2.5*", "2.4", "-", "2.6", "2400", "80%", "failed", "1.60"] in lines
    assert "fast: geometric mean 1.50, the target faster in 1 of 1, least 1.50 on gqa-4k, permuted" in told()
    assert "wrong or failed, hence not timed: other on gqa-4k, permuted" in told()


def test_lines_come_with_what_is_wrong_and_steer_no_terminal() -> None:
    assert "reading alone 3000 GB/s (in some way); torch's copy, read and written, 2900 GB/s" in told()
    assert "without sglang: is not installed" in told()
    assert "wrong: 3 of the 9 elements checked are wrong, by up to 1.5" in told()
    assert "no HND" not in told()
    assert "\x1b" not in told()


def test_the_json_holds_all_rows_and_is_json() -> None:
    data = json.loads(json.dumps(bench_data(canned(), ROOF, {"torch": "2.x"}), allow_nan=False))
    assert data.keys() == {"target", "versions", "complete", "lost", "bandwidth", "rows", "ratios"}
    assert data["complete"] is False
    first, wrong = data["rows"][0], data["rows"][3]
    assert (first["ms"], first["ms_low"], first["ms_high"], first["gb_s"], first["share"], first["correct"]) == (
        *(2.0, 1.9, 2.2),
        *(3000.0, 1.0, True),
    )
    assert (wrong["ms"], wrong["gb_s"], wrong["correct"]) == (None, None, False)
    assert data["ratios"][0] == {"shape": "gqa-4k", "layout": "permuted", "project": "fast", "mode": "b", "ratio": 1.5}


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_roofline_is_drawn(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"roofline.{suffix}"
    draw_roofline(path, CANNED, ROOF, "a GPU")
    assert path.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")


# the command


def test_without_a_gpu_it_says_what_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cpu"]) == USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "fuzz-decode: error: there is no GPU to measure on: times in Triton's interpreter say nothing about milliseconds"
    )


def test_the_list_names_shapes_layouts_and_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--list"]) == CLEAN
    words = capsys.readouterr().out.split()
    assert set(SHAPES) | set(LAYOUTS) | {peer.project for peer in PEERS} <= set(words)


def test_what_installs_a_peer_is_a_line_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "pip install --no-deps 'a-package-with-a-long-name>=1.2.3'"
    missing = BuiltIn("any", "", "", "a-package-with-a-long-name is not installed", command, None)
    monkeypatch.setattr(
        bench_list, "built_ins", lambda device: [dataclasses.replace(missing, name=peer.adapter) for peer in PEERS]
    )
    console = Console(record=True, width=80, file=io.StringIO())
    bench_list.show_bench_list(console, "cpu")
    lines = [line.strip() for line in console.export_text().splitlines()]
    assert lines.count(command) == len(PROJECTS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shapes", "gqa-4k,nonesuch"], "--shapes: 'nonesuch' is not one of gqa-4k, "),
        (["--layouts", "NHD"], "--layouts: 'NHD' is not one of contiguous, "),
        (["--shapes", "gqa-4k,"], "argument --shapes: must be names with commas between, not 'gqa-4k,'"),
        (["--shapes", "mla-16", "--layouts", "interleaved"], "--layouts interleaved: no chosen shape supports them"),
        (["--plot", "roofline.pdf"], "--plot roofline.pdf: must be a file that ends in .svg or .png"),
        (["--json", "no/such/folder/file"], "--json no/such/folder/file: must be a file in a folder"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == USAGE
    assert capsys.readouterr().err.startswith(f"fuzz-decode: error: {sentence}")


def test_without_matplotlib_no_plot_is_promised(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["bench", "--plot", "roofline.svg", "--device", "cpu"]) == USAGE
    assert capsys.readouterr().err == "fuzz-decode: error: --plot needs matplotlib; pip install 'matplotlib>=3.6'\n"


@pytest.fixture
def as_if_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command with another clock, on whatever device there is."""
    monkeypatch.setattr("fuzz_decode.workers.devices.pick_device", lambda wanted: "cuda")
    monkeypatch.setattr("fuzz_decode.bench.bandwidth.measure_bandwidth", lambda: ROOF)
    monkeypatch.setattr("fuzz_decode.bench.runner.Bench", functools.partial(Bench, device=DEVICE, clock=tick))
    monkeypatch.setattr("fuzz_decode.workers.devices.refused_dtypes", lambda device: {})
    monkeypatch.setattr("fuzz_decode.workers.devices.versions", lambda device: {"gpu": "a GPU"})
    monkeypatch.setitem(SHAPES, "tiny", TINY)


@pytest.mark.usefixtures("as_if_measured")
def test_a_bench_of_a_right_kernel_is_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bench.json"
    assert main(["bench", "--shapes", "tiny", "--peers", "none", "--json", str(path)]) == CLEAN
    data = json.loads(path.read_text())
    assert [(row["layout"], row["status"]) for row in data["rows"]] == [("permuted", TIMED), ("interleaved", TIMED)]
    assert data["complete"] is True
    assert "1.9 - 2.2" in capsys.readouterr().out


@pytest.mark.usefixtures("as_if_measured")
def test_a_bench_of_a_wrong_kernel_has_findings(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--shapes", "tiny", "--layouts", "interleaved", "--peers", "none"]
    assert main(["bench", *arguments, "--target", "mutant:k-block-stride-dense"]) == FINDINGS
    assert "wrong or failed, hence not timed: mutant:k-block-stride-dense on tiny, interleaved" in capsys.readouterr().out


@pytest.mark.usefixtures("as_if_measured")
def test_a_bench_that_is_cut_off_keeps_what_it_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(calls: Sequence[Callable[[], Any]]) -> Timing:
        if path.exists():  # the first cell is on disk
            raise KeyboardInterrupt
        return tick(calls)

    path = tmp_path / "bench.json"
    monkeypatch.setattr("fuzz_decode.bench.runner.Bench", functools.partial(Bench, device=DEVICE, clock=interrupted))
    assert main(["bench", "--shapes", "tiny", "--peers", "none", "--json", str(path)]) == INTERRUPTED
    data = json.loads(path.read_text())
    assert ([row["layout"] for row in data["rows"]], data["complete"]) == (["permuted"], False)
