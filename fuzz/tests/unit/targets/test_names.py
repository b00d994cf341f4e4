"""Which names of targets mean the bundled kernel, and which import a user's code."""

from __future__ import annotations

import pytest

from fuzz_decode.targets.adapters import ADAPTERS
from fuzz_decode.targets.names import BUNDLED, imports_user_code, is_bundled, is_mutant, mutant_target


@pytest.mark.parametrize("name", [mutant_target("gqa-modulo"), mutant_target("drop-mask:x:b088"), "mutant:os:system"])
def test_a_mutant_is_the_bundled_kernel_and_no_user_code(name: str) -> None:
    assert is_mutant(name)
    assert is_bundled(name)
    assert not imports_user_code(name)


@pytest.mark.parametrize("name", [BUNDLED, *ADAPTERS])
def test_a_built_in_name_imports_no_user_code(name: str) -> None:
    assert not imports_user_code(name)
    assert is_bundled(name) == (name == BUNDLED)


@pytest.mark.parametrize("name", ["os:system", "x.py:decode", "Mutant:x:y", " mutant:x:y"])
def test_a_name_with_a_colon_imports_user_code(name: str) -> None:
    assert imports_user_code(name)
    assert not is_bundled(name)
