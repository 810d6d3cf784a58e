"""Prints docs/settings.md from the dataclasses of the recipe: `python docs/settings.py > docs/settings.md`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import docstring_parser
from msgspec import inspect

from conrec.config import GrpoStage, Recipe

HEAD = """# Settings

<!-- made by docs/settings.py from src/conrec/config.py; change it there -->

A recipe is a TOML file; a heading below is a table of it. What a recipe leaves out has the default. A wrong type, a
value out of range, or a key that does not exist stops the run before it begins, with one line that names the key.
"""


def page() -> str:
    """The whole page: the recipe's own settings, then one table a stage."""
    recipe = Recipe()
    stages = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    tables = {f"[{name}]": config for name, config in stages.items() if dataclasses.is_dataclass(config)}
    tables["[[utilize.stages]]"] = GrpoStage()
    own = section("The recipe itself", recipe, [name for name in stages if f"[{name}]" not in tables])
    return "\n".join([HEAD, own, *(section(title, config) for title, config in tables.items())])


def section(title: str, config: Any, names: list[str] | None = None) -> str:
    """A heading, what the dataclass says of itself, and a row for each setting (or for `names` alone)."""
    docs = docstring_parser.parse_from_object(type(config))
    meaning = {param.arg_name: " ".join((param.description or "").split()) for param in docs.params}
    types = {field.name: field.type for field in inspect.type_info(type(config)).fields}  # type: ignore[attr-defined]
    about = " ".join(filter(None, (docs.short_description, docs.long_description))).replace("\n", " ")
    head = [f"## {title}", "", about, "", "| setting | values | default | meaning |", "|---|---|---|---|"]
    rows = [
        f"| `{name}` | {values(types[name])} | {default(getattr(config, name))} | {meaning[name]} |"
        for name in (names or types)
    ]
    return "\n".join([*head, *rows, ""])


def values(kind: inspect.Type) -> str:
    """What a setting may hold, for example `int >= 1`."""
    match kind:
        case inspect.LiteralType(values=choices):
            return ", ".join(f"`{choice}`" for choice in choices)
        case inspect.UnionType(types=kinds):
            return " or ".join(values(one) for one in kinds if not isinstance(one, inspect.NoneType))
        case inspect.VarTupleType(item_type=item):
            return f"list of {values(item)}"
        case inspect.IntType() | inspect.FloatType():
            bounds = {">": kind.gt, ">=": kind.ge, "<": kind.lt, "<=": kind.le}
            said = ", ".join(
                f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None and abs(bound) < 1e9
            )
            return " ".join(filter(None, ("int" if isinstance(kind, inspect.IntType) else "float", said)))
    names = {inspect.StrType: "text", inspect.BoolType: "`true`, `false`"}
    return names.get(type(kind), "table")


def default(value: Any) -> str:
    """The default as TOML; nothing where there is none."""
    if isinstance(value, tuple) and any(isinstance(one, GrpoStage) for one in value):
        return "one for each `context`"
    return "" if value is None else f"`{json.dumps(value)}`"


if __name__ == "__main__":
    print(page(), end="")
