"""The verbs of deployment: filter a file, replay, calibrate, refresh, serve."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from tyro.conf import Positional, arg

from conrec.errors import ConrecError
from conrec.parallel import Engine, use
from conrec.run import open_run, pseudonyms_of


@dataclass(frozen=True)
class Filter:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    candidates: Annotated[Positional[Path], arg(metavar="CANDIDATES")]
    """Candidates (.parquet, .csv or .tsv) with the columns user_id and item_id."""
    out: Annotated[Path, arg(metavar="FILE")]
    """Where the decisions go (.parquet, .csv or .tsv)."""
    threshold: Annotated[float | None, arg(metavar="SCORE")] = None
    """Drop what scores higher than this; without it what DIR/calibration.json says, else what the replay chose."""


def filter_(args: Filter) -> None:
    """Apply the filter to a file of candidates, as behind a ranker.

    Reads DIR/prepare, DIR/compress, DIR/score and DIR/filter (of the first seed) and CANDIDATES. Writes every candidate
    to FILE, in the same order: whether it is kept, and its score. A user is known as of the latest held-out cutoff. The
    threshold is the calibrated one (conrec calibrate) where there is one, else what the run's replay chose; the output
    says which. (What the filter avoids and costs: conrec replay.)

    Example: conrec filter runs/mt ranked.parquet --out filtered.parquet
    """
    recipe, _, _ = open_run(args.run)
    from conrec.deploy.apply import filter_file
    from conrec.deploy.served import served_score, served_thresholds
    from conrec.features.prepared_log import PreparedLog

    score = served_score(args.run, recipe.seeds[0])
    log = PreparedLog(args.run / "prepare", args.run / "compress")
    thresholds, said = served_thresholds(args.run, recipe.seeds[0], log.items.categories, args.threshold)
    known_as = pseudonyms_of(args.run, recipe) or str
    account = filter_file(args.candidates, log, score, recipe.split, thresholds, args.out, known_as)
    print(said)
    print(", ".join(f"{name} {count:,}" for name, count in account.items()))
    print(args.out)


@dataclass(frozen=True)
class Replay:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    daily_exposures: Annotated[float | None, arg(metavar="N")] = None
    """Items that you show a day; with the next two options: what the filter would be worth to you."""
    cost_of_dislike: Annotated[float, arg(metavar="X")] = 1.0
    """What a shown item costs you that is disliked, in any unit."""
    value_of_click: Annotated[float, arg(metavar="Y")] = 1.0
    """What a shown item is worth to you that is liked, in the same unit."""
    json: bool = False
    """Print everything as JSON instead of a summary."""


def replay(args: Replay) -> None:
    """Show what the filter would have avoided, what it costs, and whom.

    Reads DIR/filter: on what was really shown after the cuts of test, the dislikes avoided at 1, 2 and 5 % of likes
    lost, of CoNRec (mean over seeds), its parts and every other filter, with intervals over users and paired
    differences; likes lost, share dropped, and the users whose lists lose most; and a day in your own numbers.

    Example: conrec replay runs/mt

    Example, a day of yours: conrec replay runs/mt --daily-exposures 1e6 --cost-of-dislike 0.05 --value-of-click 0.02
    """
    recipe, _, _ = open_run(args.run)
    from conrec.deploy.replay import Operator, describe, estimate, read_replays

    operator = args.daily_exposures is not None and Operator(
        args.daily_exposures, args.cost_of_dislike, args.value_of_click
    )
    found = read_replays(args.run, recipe)
    guess = estimate(found, operator) if operator else None
    if args.json:
        estimated = {"estimate": msgspec.to_builtins(guess)} if operator else {}
        print(json.dumps(msgspec.to_builtins(found) | estimated, indent=1))
    else:
        print(describe(found, guess))


@dataclass(frozen=True)
class Calibrate:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    likes_lost: Annotated[float, arg(metavar="SHARE")] = 0.01
    """The budget: at most this share of what people would have liked may be dropped."""
    unwanted: Annotated[float | None, arg(metavar="SHARE")] = None
    """A second budget: at most this share of what is left to a user is disliked."""
    confidence: Annotated[float, arg(metavar="P")] = 0.95
    """How surely: in this share of calibrations the promise is kept."""
    on_average: bool = False
    """Promise the budget on average over calibrations instead (conformal risk control): bolder, kept less surely."""
    by: Literal["category", "activity"] | None = None
    """A threshold for each category of items, or for users of low, middle and high activity."""
    surface: Annotated[str | None, arg(metavar="NAME")] = None
    """Only for lists on this surface, beside the others' (DIR/calibration.NAME.json)."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """The seed of the run whose scores are read; without it the first."""
    json: bool = False
    """Print what DIR/calibration.json holds instead of a summary."""


def calibrate(args: Calibrate) -> None:
    """Choose the threshold by a budget of lost likes, with a guarantee.

    Reads DIR/filter and writes DIR/calibration.json: the threshold (none where the data is too small to promise
    anything, with what would be needed), what it rests on, and what it did on test. docs/guarantee.md says what is
    promised.

    Example: conrec calibrate runs/mt --likes-lost 0.02

    Example, with a second promise: conrec calibrate runs/mt --likes-lost 0.05 --unwanted 0.1

    Example, a threshold for each category: conrec calibrate runs/mt --likes-lost 0.05 --by category

    Example, for the home page: conrec calibrate runs/mt --surface home --likes-lost 0.005
    """
    recipe, _, _ = open_run(args.run)
    from conrec.deploy.calibrate import calibrate, describe

    given = {name: getattr(args, name) for name in ("likes_lost", "unwanted", "by", "seed", "surface")}
    result = calibrate(args.run, recipe, confidence=None if args.on_average else args.confidence, **given)
    print(json.dumps(msgspec.to_builtins(result), indent=1) if args.json else describe(result))


@dataclass(frozen=True)
class Refresh:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder that came as far as the stage filter."""
    events: Annotated[tuple[str, ...], arg(metavar="FILE [FILE ...]")] = ()
    """The day's events with our columns: user_id, item_id, time, kind, reason, value; files, globs, or s3://..."""
    items: Annotated[tuple[str, ...], arg(metavar="FILE [FILE ...]")] = ()
    """New items, likewise: item_id, title, category, image, first_seen, other columns as attributes."""
    images: Annotated[Path | None, arg(metavar="PATH")] = None
    """Pictures of the new items: a folder or an archive."""
    snapshots: Annotated[Path | None, arg(metavar="SNAPSHOTS")] = None
    """Where the snapshots are published; without it DIR/snapshots."""
    keep: Annotated[int, arg(metavar="N")] = 7
    """So many versions stay."""
    keep_days: Annotated[int | None, arg(metavar="N")] = None
    """Forget events and dislikes of more than so many days ago; without it none."""
    store: Literal["mapped", "redis"] | None = None
    """Where the users go: files that are memory-mapped (the default), or Redis (CONREC_REDIS names it)."""
    seed: Annotated[int | None, arg(metavar="N")] = None
    """The seed of the run that predicts; without it the first."""
    max_change: Annotated[float, arg(metavar="FACTOR")] = 2.0
    """Hold a version that would hide more than so many times as much of a category, or of all items; inf: never."""
    engine: Engine = "native"
    """ray: spread the users over the cluster at RAY_ADDRESS, else over this machine's cores."""
    accept: bool = False
    """Only put the version that is held into use."""
    rollback: bool = False
    """Only go back to the version that the one in use was made after, or give up the one that is held."""
    merged: Annotated[Path | None, arg(metavar="OUT")] = None
    """Only write the log so far to OUT, to train on."""


def refresh(args: Refresh) -> None:
    """Publish the predictions for the filter, updated by a new day of log; or roll back; or write the log out.

    The first call, without --events, publishes the run with its own log. Every further one ingests what is new: events
    are cleaned like the first log and every row is accounted for, new items get IDs from the frozen codebook, users
    whose history changed are predicted again, the others are carried over. The new snapshot is in SNAPSHOTS at once or
    not at all; the same input a second time changes nothing. One that would hide far more than the one in use is held,
    and the exit status is 3. After --rollback the next call goes on from the version that is in use again.
    docs/daily_job.md is the how-to, training again (--merged) among it.

    Example: conrec refresh runs/mt

    Example, every night: conrec refresh runs/mt --events 2026-11-22.parquet --items new_items.csv

    Example, back to the version before: conrec refresh runs/mt --rollback
    """
    recipe, _, _ = open_run(args.run)
    snapshots = args.run / "snapshots" if args.snapshots is None else args.snapshots
    alone = args.accept + args.rollback + (args.merged is not None)
    if alone and (alone > 1 or args.events or args.items):
        raise ConrecError("--accept, --rollback and --merged each stand alone, without --events and --items")
    from conrec.deploy.refresh import accept, refresh, roll_back, write_merged

    if args.accept or args.rollback:
        print(f"{(accept if args.accept else roll_back)(snapshots)} in use")
    elif args.merged is not None:
        print(write_merged(args.run, recipe, snapshots, args.merged))
    else:
        use(args.engine)
        others = ("run", "accept", "rollback", "merged", "engine")
        given = {name: value for name, value in vars(args).items() if name not in others}
        done = refresh(args.run, recipe, **given | {"snapshots": snapshots})
        print(done)
        if done.held:
            raise SystemExit(3)


@dataclass(frozen=True)
class Forget:
    user: Positional[str]
    """The id of a user."""
    run: Annotated[Path, arg(metavar="DIR")]
    """The run folder."""
    snapshots: Annotated[Path | None, arg(metavar="SNAPSHOTS")] = None
    """Where its snapshots are; without it DIR/snapshots."""


def forget(args: Forget) -> None:
    """Remove one user from all that a run keeps, and prove it by a scan.

    Rewrites the tables of DIR, of the days ingested, and of what users said, without the user's rows; deletes DIR/log;
    publishes a snapshot without the user, and deletes all before it. Nothing is trained. Then looks through every file;
    where the user still is, it is named, and the exit status is 1. docs/daily_job.md says what stays, and why.

    Example: conrec forget ann --run runs/mt
    """
    from conrec.deploy.forget import forget

    snapshots = args.snapshots or args.run / "snapshots"
    rows, found = forget(args.run, args.user, snapshots)
    told = "; ".join(f"{path}: still holds the user" for path in found)
    print(f"{rows:,} rows removed; {told or f'the user is in no file of {args.run} and {snapshots}'}")
    if found:
        raise SystemExit(1)


@dataclass(frozen=True)
class Export:
    run: Annotated[Positional[Path], arg(metavar="DIR")]
    """A run folder whose policy was trained (`conrec run --policy`)."""
    out: Annotated[Path, arg(metavar="FOLDER")]
    """A new folder."""
    push_to_hub: Annotated[str | None, arg(metavar="REPO")] = None
    """Also put it on Hugging Face's hub, as a private repository if it is new."""


def export(args: Export) -> None:
    """Write the trained policy as an ordinary Hugging Face folder.

    Reads DIR/utilize (of the first seed) and DIR/compress. Writes FOLDER: merged weights (safetensors), tokenizer, a
    model card that says how to prompt it, and catalogue.parquet (item id, title, semantic ID). What loads or serves
    such models takes it.

    Example: conrec export runs/mt --out runs/mt-policy

    Example, to the hub: conrec export runs/mt --out runs/mt-policy --push-to-hub shop/dislikes
    """
    from conrec.deploy.export import export

    print(export(args.run, open_run(args.run)[0], args.out, args.push_to_hub))


@dataclass(frozen=True)
class Serve:
    snapshots: Annotated[Positional[Path], arg(metavar="SNAPSHOTS")]
    """The folder of published snapshots; the one in use is followed."""
    run: Annotated[Path | None, arg(metavar="DIR")] = None
    """A run folder, for the page: pictures, what was really shown, the trade-off curve, the report."""
    host: Annotated[str | None, arg(metavar="ADDRESS")] = None
    """Where to listen (127.0.0.1); without --tokens the service asks nobody who they are, so keep it inside."""
    port: Annotated[int | None, arg(metavar="N")] = None
    """Which port (8000)."""
    threshold: Annotated[float | None, arg(metavar="SCORE")] = None
    """Drop what scores above this; without it what the snapshot was calibrated to."""
    min_keep: Annotated[int | None, arg(metavar="N")] = None
    """At least so many candidates of a list stay (1)."""
    max_drop_share: Annotated[float | None, arg(metavar="SHARE")] = None
    """At most this share of a list goes for its score (0.5); the worst go first."""
    never_again: Literal["item", "near", "off"] | None = None
    """What a user rejected is out whatever its score (item), and what is nearly the same (near); off: it is not."""
    never_again_days: Annotated[float | None, arg(metavar="DAYS")] = None
    """For so many days; without it for good."""
    surfaces: Annotated[Path | None, arg(metavar="FILE")] = None
    """Limits of surfaces, in TOML: [home], say, and below it min_keep, max_drop_share, or mode."""
    exempt: Annotated[Path | None, arg(metavar="FILE")] = None
    """User ids, one a line, whose candidates all pass."""
    dry_run: bool = False
    """Score and count, but drop nothing."""
    budget_ms: Annotated[float | None, arg(metavar="MS")] = None
    """Time for one answer (25); when it is over all candidates pass."""
    tokens: Annotated[Path | None, arg(metavar="FILE")] = None
    """Who may ask: a role (ranker or operator) and a token a line; read again when it changes."""
    salt_file: Annotated[Path | None, arg(metavar="FILE")] = None
    """The salt of the recipe, where users have pseudonyms: requests name them by their ids all the same."""
    tls_certificate: Annotated[Path | None, arg(metavar="FILE")] = None
    """Speak TLS: the certificate and its chain (PEM)."""
    tls_key: Annotated[Path | None, arg(metavar="FILE")] = None
    """Its private key (PEM)."""
    no_page: bool = False
    """Leave out the page and what it asks for."""
    page_only: bool = False
    """Leave out what a ranker asks for."""


def serve(args: Serve) -> None:
    """Serve the filter over HTTP, with a page that shows what it does.

    Reads the published snapshots in SNAPSHOTS and takes over a new one without a pause. POST /v1/filter decides about
    candidates, /metrics counts, /openapi.json describes, and / is the page. Whatever fails, all candidates pass. Each
    option can also be given in the environment (CONREC_PORT=8080), and so can limits that docs/service.md lists.

    Example: conrec serve snapshots --run runs/demo
    """
    from conrec.serve.settings import read_settings

    switches = {"dry_run": args.dry_run or None, "page": not args.no_page and None, "api": not args.page_only and None}
    settings = read_settings(**vars(args) | switches)
    from conrec.serve.app import serve

    serve(settings)
