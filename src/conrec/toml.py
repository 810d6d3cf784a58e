"""Typed TOML: a file read as a dataclass, with errors that name file and key, and a dataclass written back.

Types and bounds come from the dataclass's annotations (`Annotated[int, msgspec.Meta(ge=1)]`); what ties several fields
together is checked by its `__post_init__`.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import tomli_w
from msgspec import inspect

from conrec.errors import ConrecError

T = TypeVar("T")


def read_toml(path: Path, kind: type[T]) -> T:
    """The file as a `kind` (a dataclass), defaults filled in.

    ConrecError, in one line, for a file that is not TOML, an unknown key, a wrong type, and a value out of range.
    """
    return typed(str(path), read_table(path), kind)


def read_table(path: Path) -> dict[str, Any]:
    """The file as it is; ConrecError where it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConrecError(f"{path}: not valid TOML: {error}") from None


def typed(where: str, table: dict[str, Any], kind: type[T]) -> T:
    """A table as in `read_toml`; `where` it is from."""
    try:
        _check_names(inspect.type_info(kind), table, "")
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ConrecError(f"{where}: {_explained(str(error), table)}") from None
    except ValueError as error:
        raise ConrecError(f"{where}: {error}") from None


def to_toml(value: object) -> str:
    """A dataclass as TOML, defaults written out; `read_toml` reads it back to an equal one.

    Fields that are None are left out: TOML has no null, and their default is None.
    """
    return tomli_w.dumps(_without_none(msgspec.to_builtins(value)))


def _without_none(value: Any) -> Any:
    """The same tables and lists without what is None."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value


def _check_names(kind: inspect.Type, value: Any, at: str) -> None:
    """ValueError for the first key that a dataclass does not have, or choice that a field does not allow.

    msgspec ignores such keys, and names no choices.
    """
    match kind, value:
        case inspect.DataclassType(fields=fields), dict():
            known = {field.name: field.type for field in fields}
            for key, inner in value.items():
                name = f"{at}.{key}".lstrip(".")
                if key not in known:
                    near = difflib.get_close_matches(key, sorted(known), 1)
                    hint = f"did you mean {near[0]}? Known" if near else "known"
                    raise ValueError(f"unknown key {name}; {hint} here: {', '.join(sorted(known))}")
                _check_names(known[key], inner, name)
        case inspect.VarTupleType(item_type=inner_kind), list():
            for n, inner in enumerate(value):
                _check_names(inner_kind, inner, f"{at}[{n}]")
        case inspect.LiteralType(values=allowed), str() if value not in allowed:
            raise ValueError(f"{at} = {value!r}; it must be one of {', '.join(map(str, allowed))}")


def _explained(error: str, table: dict[str, Any]) -> str:
    """msgspec's message with the key first and the value that is there: `predict.beams = 0; it must be int >= 1`."""
    message, at, path = error.rpartition(" - at `$")
    if not at:  # of several tables together: it names them
        return error
    value: Any = table
    for name, number in re.findall(r"\.([\w-]+)|\[(\d+)\]", path):
        value = value[name or int(number)]
    name = path.strip(".`")
    if not message.startswith("Expected "):  # of several fields together: it begins with the first one's name
        return f"{name}.{message}".lstrip(".")
    words = {"Expected": "it must be", "`": "", ", got": ", not", "object": "table", "array": "list"}
    for theirs, ours in words.items():
        message = message.replace(theirs, ours)
    return f"{name} = {value!r}; {message}"
