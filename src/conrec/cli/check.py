"""`conrec check`: what would become of a log, and the draft of a recipe for it."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from conrec.errors import ConrecError


@dataclass(frozen=True)
class Check:
    log: Annotated[Positional[str], arg(metavar="FILE")]
    """A file of events, or the folder of a log; or a quoted glob, or an address such as s3://bucket/log/."""
    items: Annotated[Positional[str | None], arg(metavar="FILE")] = None
    """A file of items, likewise."""
    recipe: Annotated[Path | None, arg(metavar="RECIPE")] = None
    """Read the log by this recipe; without it one is drafted."""


def check(args: Check) -> None:
    """Say what would be read of a log, kept, and dropped, and why; and draft a recipe for its columns.

    Reads the files as `conrec prepare` would, pictures aside, and cleans them. Prints the recipe with what became of
    the rows as comments, so that the output can be edited and used. Guesses and broken rows are named on stderr.

    Example: conrec check events.csv items.csv > shop.toml

    Example, by a recipe that is there: conrec check movietweetings/ --recipe movietweetings
    """
    from importlib import import_module
    from tempfile import TemporaryDirectory

    import pyarrow.compute as pc
    import tomli_w

    from conrec.config import DataConfig, Recipe
    from conrec.data.adapters import draft, generic
    from conrec.data.clean import clean, without_leaps
    from conrec.data.sources import at_hand, told_by_address
    from conrec.report.texts import sentences
    from conrec.run import named_recipe

    recipe = named_recipe(args.recipe) if args.recipe else Recipe(data=DataConfig("generic"))
    if recipe.data.simulated or (args.items and recipe.data.adapter != "generic"):
        raise ConrecError(f"{args.recipe}: data.adapter = {recipe.data.adapter!r} does not read these files")
    with TemporaryDirectory() as copies, told_by_address(Path(copies)):
        data = at_hand([args.log, f"items={args.items}"] if args.items else args.log, Path(copies))
        assert data is not None
        if args.recipe is None:
            recipe, usual = replace(recipe, data=draft.draft(*generic.files_of(data))), DataConfig()
            told = {name: value for name, value in vars(recipe.data).items() if value != getattr(usual, name)}
            print(tomli_w.dumps({"name": Path(args.log).resolve().name.split(".")[0], "data": told}))
        log = import_module(f"conrec.data.adapters.{recipe.data.adapter}").read(data, recipe.data, None)
    log = clean(without_leaps(log) if recipe.split.mode == "time" else log, recipe.data.min_user_dislikes)
    days = pc.min_max(log.events["time"]).as_py()
    kinds = Counter(log.events["kind"].to_pylist()).most_common()
    users = pc.count_distinct(log.events["user_id"]).as_py()
    print(sentences("cli/check.toml").rows(log.accounting, kinds, users, days), end="")
