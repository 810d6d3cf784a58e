"""What the verbs say to people: the templates of this folder, in plain text."""

from functools import cache
from typing import Any

import jinja2


@cache
def sentences(name: str) -> Any:
    """The macros of `name.txt.j2`, functions that return str."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("conrec", "deploy"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fmt"] = format
    return environment.get_template(f"{name}.txt.j2").module
