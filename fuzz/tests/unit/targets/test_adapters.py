"""Adapters of other projects' kernels, without those projects: what can be told of them where nothing but torch is installed."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from fuzz_decode.cases.case import BlockTable, Case
from fuzz_decode.cases.layout import FAMILIES, QUERY_AXES, Layout, dense
from fuzz_decode.cases.validity import validate
from fuzz_decode.errors import TargetError
from fuzz_decode.execute.run_and_judge import run_case
from fuzz_decode.generate.case_stream import case_stream
from fuzz_decode.problems.build import build_problem
from fuzz_decode.targets import partial_import, resolve
from fuzz_decode.targets.adapters import ADAPTERS, Adapter, torch_attention
from fuzz_decode.targets.target import Target, target_from_function
from fuzz_decode_reference import gather_attention

PACKAGES = ("vllm", "sglang", "aiter", "flashinfer", "flash_attn")


def understood(adapter: Adapter, name: str) -> Target:
    return target_from_function(name, adapter.decode_function())


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_understood_without_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in PACKAGES:
        monkeypatch.setitem(sys.modules, package, None)  # an import of it raises
    target = understood(ADAPTERS[name], name)
    assert target.name == name
    reasons = [target.unsupported_reason(case) for case in drawn(target, 50)]
    assert reasons.count(None) > 45, reasons


@pytest.mark.parametrize("name", [name for name, adapter in ADAPTERS.items() if adapter.distribution])
def test_a_package_that_is_not_installed_is_named_with_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_import, "version", lambda distribution: None)
    adapter = ADAPTERS[name]
    with pytest.raises(TargetError) as caught:
        resolve(name)
    assert str(caught.value) == f"target {name}: {adapter.distribution} is not installed; {adapter.install}"
    assert "\n" not in str(caught.value)
    assert adapter.install.startswith("pip install ")


def drawn(target: Target, count: int, seed: int = 0) -> Iterator[Case]:
    return islice(case_stream(seed, target.case_space()), count)


ROWS = {"num_kv_heads": 2, "group": 4, "head_dim": 64, "value_head_dim": 64, "block_size": 16}
POOLS = {
    "dense": {},
    "interleaved": {"k": dense(FAMILIES["interleaved"]), "v": None},
    "HND": {"k": dense(FAMILIES["HND"]), "v": dense(FAMILIES["HND"])},
    "padded": {"k": Layout(FAMILIES["NHD"], (64, 8, 16, 0), 8), "v": Layout(FAMILIES["NHD"], (64, 8, 16, 0), 8)},
    "window": {"window": 20},
    "softcap": {"softcap": 30.0},
    "one KV head": {"num_kv_heads": 1},
    "shared pages": {"table": BlockTable(placement="permuted", shared_blocks=2, first_block=3, spare_blocks=2)},
}


def pool_case(kind: str, **fields: Any) -> Case:
    return validate(Case(**{"seq_lens": (40, 0, 33), **ROWS, **POOLS[kind], **fields}))


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", ["torch-sdpa", "torch-flex"])
def test_torch_gathers_and_flexes_pools_of_every_kind(name: str, dtype: str, kind: str) -> None:
    target = resolve(name)
    case = target.strides.nearest(pool_case(kind, dtype=dtype))
    if target.unsupported_reason(case) in ("no softcap", "num_kv_heads 1"):
        pytest.skip(f"{name} takes none")
    outcome = run_case(case, target, "cpu")
    assert outcome.status == "passed", outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch-sdpa", "torch-flex"])
def test_torch_is_honest(name: str) -> None:
    target = resolve(name)
    outcomes = [run_case(case, target, "cpu") for case in drawn(target, 25, seed=7)]
    assert [outcome for outcome in outcomes if outcome.findings] == []
    assert any(outcome.status == "passed" for outcome in outcomes)


@pytest.mark.parametrize(
    ("fields", "taken"),
    [
        ({}, True),
        ({"q": Layout(QUERY_AXES, (0, 8, 0))}, True),
        ({"q": Layout(QUERY_AXES, (0, 1, 0))}, False),  # cutlassF: no kernel found to launch
        ({"q": Layout(QUERY_AXES, offset=1)}, False),  # misaligned address
        ({"q": Layout(QUERY_AXES, offset=4), "dtype": "float32"}, True),
        ({"q": Layout(QUERY_AXES, offset=4)}, False),
        ({"q": Layout(QUERY_AXES, (4, 0, 0))}, False),
        ({"q": Layout(QUERY_AXES, (4, 0, 0)), "seq_lens": (5,)}, True),
        ({"q": Layout(QUERY_AXES, (0, 0, 1))}, True),  # elements apart: any address will do
        ({"q": Layout(QUERY_AXES, offset=1), "dtype": "float32", "group": 2}, True),
        ({"q": Layout(QUERY_AXES, offset=1), "head_dim": 576, "group": 2}, True),
        ({"q": Layout(QUERY_AXES, offset=1), "head_dim": 576}, False),
    ],
)
def test_sdpa_is_not_asked_for_what_pytorch_cannot_load_on_a_gpu(
    fields: dict[str, Any], taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an H200 with PyTorch 2.11 did with each of these."""
    case = Case(**{"seq_lens": (5, 7), "head_dim": 64, "value_head_dim": 64, "num_kv_heads": 2, "dtype": "float16", **fields})
    target = resolve("torch-sdpa")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    reason = target.unsupported_reason(case)
    assert reason is None if taken else reason == "rows of q do not start at multiples of 16 bytes, which PyTorch needs on CUDA"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert target.unsupported_reason(case) is None


def test_flex_of_an_older_torch_is_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.nn.attention.flex_attention, "AuxRequest")
    with pytest.raises(TargetError, match=r"^target torch-flex needs torch 2.9 or later; this is \d"):
        resolve("torch-flex")


class PagedWrapper:
    """FlashInfer's wrapper, by its documentation: page lists in, base-2 LSE out, -5e4 for an empty row."""

    def __init__(self, workspace: Tensor, layout: str, **options: Any) -> None:
        assert not workspace.any()
        self.layout, self.options = layout, options

    def plan(
        self,
        indptr: Tensor,
        indices: Tensor,
        last_page_len: Tensor,
        num_qo_heads: int,
        num_kv_heads: int,
        head_dim: int,
        page_size: int,
        **options: Any,
    ) -> None:
        assert (indptr.dtype, indices.dtype, last_page_len.dtype) == (torch.int32,) * 3
        self.pages = [indices[start:stop] for start, stop in pairwise(indptr.tolist())]
        self.lens = torch.tensor(
            [max(0, len(row) - 1) * page_size + last for row, last in zip(self.pages, last_page_len.tolist(), strict=True)]
        )
        self.heads = (num_qo_heads, num_kv_heads, head_dim)
        self.plans = options

    def run(self, q: Tensor, caches: tuple[Tensor, Tensor], *, return_lse: bool) -> tuple[Tensor, Tensor]:
        k, v = caches
        assert k.stride() == v.stride()
        inner = (k.stride(1), k.stride(2))
        assert inner == tuple(sorted(inner, reverse=True)) or 1 in k.shape
        if self.layout == "HND":
            k, v = k.transpose(1, 2), v.transpose(1, 2)
        assert self.heads == (q.shape[1], k.shape[2], k.shape[3])
        table = torch.zeros(len(q), max(1, *map(len, self.pages)), dtype=torch.int32)
        for row, pages in zip(table, self.pages, strict=True):
            row[: len(pages)] = pages
        window, cap = self.plans["window_left"], self.plans["logits_soft_cap"]
        window = None if window < 0 else window + 1
        out, lse = gather_attention(q, k, v, table, self.lens, self.plans["sm_scale"], window=window, softcap=cap)
        return out.to(q.dtype), (lse / torch.tensor(2.0).log()).float().nan_to_num(neginf=-5e4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flashinfer", "flashinfer-tensor-cores"])
def test_flashinfer_gets_pages_and_views(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flashinfer", SimpleNamespace(BatchDecodeWithPagedKVCacheWrapper=PagedWrapper))
    target = understood(ADAPTERS[name], name)
    cases = [target.strides.nearest(pool_case(kind, dtype="float16")) for kind in POOLS]
    for case in [*cases, *drawn(target, 25)]:
        outcome = run_case(case, target, "cpu")
        assert outcome.status == "passed", outcome


def with_kvcache(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    """flash_attn_with_kvcache, by its documentation; the LSE of an empty row is +inf."""
    left, right = options["window_size"]
    assert (options["causal"], options["return_softmax_lse"], right) == (True, True, -1 if left < 0 else 0)
    out, lse = gather_attention(
        q[:, 0],
        k,
        v,
        options["block_table"],
        options["cache_seqlens"],
        options["softmax_scale"],
        window=None if left < 0 else left + 1,
        softcap=options["softcap"] or None,
    )
    return out.to(q.dtype)[:, None], lse.float().nan_to_num(neginf=torch.inf)[..., None]


def test_flash_attn_gets_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_with_kvcache=with_kvcache))
    target = understood(ADAPTERS["flash-attn"], "flash-attn")
    cases = [target.strides.nearest(pool_case(kind, dtype="float16", block_size=256)) for kind in POOLS]
    for case in [*cases, *drawn(target, 20)]:
        outcome = run_case(case, target, "cpu")
        assert outcome.status == "passed", outcome


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package that cannot be imported, with a kernel deep inside that can."""
    files = {
        "__init__.py": "raise RuntimeError('no GPU stack')",
        "ops/__init__.py": "raise RuntimeError('no GPU stack')",
        "ops/helpers.py": "TILE = 64",
        "ops/kernel.py": "from bulky.platform import is_gpu\nfrom bulky.ops.helpers import TILE\nFOUND = is_gpu(), TILE",
        "ops/other.py": "from bulky.platform import no_such_name",
    }
    for name, source in files.items():
        (tmp_path / "bulky" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "bulky" / name).write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "bulky"]:
        del sys.modules[name]


STAND_INS: dict[str, dict[str, Any]] = {"bulky.platform": {"is_gpu": lambda: "stand-in"}}


def test_a_module_is_loaded_without_the_packages_around_it(package: Path) -> None:
    module = partial_import.load_module("bulky.ops.kernel", STAND_INS)
    assert module.FOUND == ("stand-in", 64)
    assert str(module.__file__) == str(package / "bulky/ops/kernel.py")
    assert partial_import.load_module("bulky.ops.kernel", STAND_INS) is module


@pytest.mark.parametrize(("module", "missing"), [("other", "no_such_name"), ("nonesuch", "bulky.ops.nonesuch")])
@pytest.mark.usefixtures("package")
def test_what_a_module_lacks_is_named(module: str, missing: str) -> None:
    with pytest.raises(TargetError, match=rf"^bulky has no bulky.ops.{module} that can be loaded alone: .*{missing}"):
        partial_import.load_module(f"bulky.ops.{module}", STAND_INS)


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(TargetError, match=r"^the package no_such_package is not installed$"):
        partial_import.load_module("no_such_package.kernel", {})


@pytest.fixture
def no_package_imported() -> Iterator[None]:
    """None of PACKAGES is in sys.modules; what is put there is taken out again."""
    hidden = {name: module for name, module in sys.modules.items() if name.split(".")[0] in PACKAGES}
    for name in hidden:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in PACKAGES]:
        del sys.modules[name]
    sys.modules.update(hidden)


@pytest.mark.usefixtures("no_package_imported")
@pytest.mark.parametrize("name", ["vllm-unified", "vllm-decode", "sglang", "aiter", "aiter-unified"])
def test_another_version_of_a_package_is_bad_input_and_no_finding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = name.split("-")[0]
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(partial_import, "version", lambda distribution: "99.9")

    with pytest.raises(TargetError, match=rf"^{package} 99.9 has no {package}[.\w]+ that can be loaded alone: No module named"):
        resolve(name)


def test_what_is_to_be_installed_is_what_the_extras_say(repo: Path) -> None:
    """fuzz-decode is on no index, so that a hint names the package itself."""
    extras = dict(re.findall(r'^([a-z-]+) = \["([^"]+)"\]', (repo / "pyproject.toml").read_text(), re.MULTILINE))
    hints = [shlex.split(adapter.install)[-1] for adapter in ADAPTERS.values() if adapter.install]

    assert {extras["flashinfer"], extras["flash-attn"]} <= set(hints)
    assert not any("fuzz-decode" in hint for hint in hints)
    assert f"pip install '{extras['plot']}'" in (repo / "fuzz/fuzz_decode/cli/bench.py").read_text()
    assert f"pip install '{extras['ray']}'" in (repo / "fuzz/fuzz_decode/workers/ray_pool.py").read_text()


def test_sdpa_passes_keys_with_the_strides_of_new_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on axes of size 1, where a gather from a cache with dims outermost has the stride 1: cutlass refused it on an H200."""
    seen: list[tuple[int, ...]] = []

    def recorded(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
        seen.extend((k.stride(), v.stride()))
        return q

    monkeypatch.setattr(torch_attention, "scaled_dot_product_attention", recorded)
    problem = build_problem(Case(seq_lens=(1,), k=Layout(("dim", "block", "slot", "head", "kv")), v=None), "cpu")
    torch_attention.sdpa(*problem.arguments())
    assert seen == [(16, 16, 16, 1)] * 2
