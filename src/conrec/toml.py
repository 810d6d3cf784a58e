"""A recipe back to TOML, so that a run folder holds every setting it was made with."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from conrec.config import Recipe


def recipe_toml(recipe: Recipe) -> str:
    """The whole recipe, defaults written out; `conrec.config.load_recipe` reads it back to an equal one.

    Fields that are None are left out (TOML has no null; their default is None).
    """
    lines, tables = [], []
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if dataclasses.is_dataclass(value):
            inner = [f"{f.name} = {_text(v)}" for f, v in _present(value)]
            tables.append("\n".join([f"[{field.name}]", *inner]))
        else:
            lines.append(f"{field.name} = {_text(value)}")
    return "\n\n".join(["\n".join(lines), *tables]) + "\n"


def _present(value: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    """Fields of a dataclass that are set."""
    pairs = [(field, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return [(field, inner) for field, inner in pairs if inner is not None]


def _text(value: Any) -> str:
    """One value as TOML; tables inside a table are written inline."""
    if dataclasses.is_dataclass(value):
        return "{" + ", ".join(f"{f.name} = {_text(v)}" for f, v in _present(value)) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(str(k))} = {_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_text(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's too, but for DEL, which JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
