"""What people read: templates beside the code that fills them, for pages in HTML and for plain text."""

from functools import cache
from typing import Any

import jinja2


def templates(autoescape: bool) -> jinja2.Environment:
    """All templates of the package, by their paths in it. A name that a template does not know is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("conrec", ""),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def sentences(name: str) -> Any:
    """The macros of `name.j2` (`deploy/replay.txt`), functions that return str."""
    environment = templates(autoescape=False)
    environment.filters["fmt"] = format
    return environment.get_template(f"{name}.j2").module
