"""Checkpoints name a target's space by texts that do not change from version to version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fuzz_decode.campaign.checkpoint import NAME, Checkpoint, as_text
from fuzz_decode.targets import resolve
from fuzz_decode.targets.resolve import declared

FLOAT8 = "('float8_e4m3fn', 'float8_e5m2')"
# written by the version before CaseSpace and StrideRules
WRITTEN = {
    "bundled": {
        "dtypes": "('float32', 'float16', 'bfloat16')",
        "cache_dtypes": FLOAT8,
        "options": "['alibi_slopes', 'k_scale', 'out', 'q_len', 'sinks', 'softcap', 'v_scale', 'window']",
        "min_seq_len": "0",
        "strides": "Strides(contiguous=(), one_slot_stride=False, v_like_k=False, multiple_of=1)",
    },
    "flashinfer": {
        "head_dims": "(64, 128)",
        "value_head_dims": "head_dim",
        "groups": "(1, 2, 4, 3, 8)",
        "dtypes": "('float16', 'bfloat16')",
        "cache_dtypes": FLOAT8,
        "options": "['softcap', 'window']",
        "min_seq_len": "0",
        "strides": "Strides(contiguous=('q', 'k', 'v'), one_slot_stride=False, v_like_k=True, multiple_of=8)",
    },
    "torch-flex": {
        "head_dims": "(64,)",
        "value_head_dims": "head_dim",
        "block_sizes": "(16,)",
        "groups": "(4,)",
        "num_kv_heads": "(2,)",
        "dtypes": "('float32', 'float16', 'bfloat16')",
        "cache_dtypes": FLOAT8,
        "options": "['softcap', 'window']",
        "min_seq_len": "0",
        "strides": "Strides(contiguous=('q', 'k', 'v'), one_slot_stride=True, v_like_k=False, multiple_of=1)",
    },
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_checkpoint_of_the_version_before_is_resumed(name: str, tmp_path: Path) -> None:
    target = resolve(name) if name == "bundled" else declared(name)
    of = {"target": name, **as_text(target.case_space())}
    assert list(of.items()) == list({"target": name, **WRITTEN[name]}.items())
    path = tmp_path / NAME
    path.write_text(json.dumps({"of": {"target": name, **WRITTEN[name]}, "state": {"next": 5}}))
    assert Checkpoint(path, of).read() == {"next": 5}
