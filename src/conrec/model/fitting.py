"""`conrec.fit`: from a log to a filter, without a language model."""

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from conrec.config import Recipe
from conrec.errors import ConrecError
from conrec.files import lock
from conrec.model.frames import Table, place, told_of
from conrec.model.model import Model
from conrec.run import LOG, check_folder, named_recipe, run_stages, stages_of


def fit(
    events: Table,
    items: Table | None = None,
    *,
    dislike_at_most: float | None = None,
    like_at_least: float | None = None,
    columns: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    reasons: Mapping[str, str] | None = None,
    images: str | Path | None = None,
    recipe: str | Path | Recipe = "fit",
    folder: str | Path | None = None,
) -> Model:
    """Learn the filter's score from a log and the items' content.

    events, items: tables with the columns of docs/data.md, of what speaks Arrow (pandas, polars, pyarrow, DuckDB), or
    paths, globs, or addresses (`s3://...`), one or several; `events` alone may be whatever the recipe's adapter reads.

    dislike_at_most, like_at_least: thresholds on `value`. columns, kinds, reasons: your names for ours, as in a
    recipe's `[data]`. images: a folder or an archive of pictures. recipe: other settings; one with semantic IDs
    (`sid.levels`) trains what `conrec run` trains. folder: the run folder to make or go on with; without one it is
    temporary and goes with the model.

    ConrecError for a log that cannot be read or is too small, with table, row, and what to do.
    """
    settings = recipe if isinstance(recipe, Recipe) else named_recipe(Path(recipe))
    names = {"columns": columns, "kinds": kinds, "reasons": reasons}
    changes: dict[str, Any] = {name: dict(one) for name, one in names.items() if one is not None}
    limits = {"dislike_at_most": dislike_at_most, "like_at_least": like_at_least}
    changes |= {name: limit for name, limit in limits.items() if limit is not None}
    settings = replace(settings, data=replace(settings.data, **changes))
    run = Path(tempfile.mkdtemp(prefix="conrec-")) if folder is None else Path(folder)
    try:
        check_folder(run)
        with lock(run / ".lock"):  # whoever works in the folder may be reading the tables
            data = place(events, items, run / LOG)
        pictures = None if images is None else Path(images)
        run_stages(stages_of(settings), settings, run, data, pictures, begin=True)
    except BaseException as error:
        if folder is None:
            shutil.rmtree(run, ignore_errors=True)
        if isinstance(error, ConrecError):
            raise ConrecError(told_of(str(error), run / LOG)) from None
        raise
    model = Model(run)
    if folder is None:
        weakref.finalize(model, shutil.rmtree, run, ignore_errors=True)
    return model
