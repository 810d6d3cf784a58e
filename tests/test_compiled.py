"""Compiled loops: they work, too, where numba has no place to keep the code."""

from typing import Any

import pytest
from numba import njit

from conrec.compiled import compiled


def test_without_a_place_for_the_code_it_is_compiled_all_the_same() -> None:
    names: dict[str, Any] = {}
    exec("def twice(x): return 2 * x", names)  # in no file, so there is no place beside it
    with pytest.raises(RuntimeError, match="no locator"):
        njit(cache=True)(names["twice"])
    for options in ({}, {"fastmath": True}):
        found = compiled(**options)(names["twice"])
        assert found(4) == 8
        assert found.targetoptions["nogil"]
        assert found.targetoptions.get("fastmath", False) == bool(options)
