"""The daily job: a new day of log in, a new set of predictions out (the paper's offline side of figure 4).

Every call ends in a published set (filtering.sets) or changes nothing. What is recomputed is only what changed: the
predictions of users who disliked, liked or rated something new or took a dislike back; all others are carried over
from the set before. What concerns the items (their side of the score, what is on offer, how often they were disliked
lately) is of the day.

Nothing is trained: encoders, codebook, model and score are those of the run. A run that was trained anew begins anew
here, too: its first call publishes all its users.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conrec.config import DataConfig, Recipe
from conrec.data.histories import Histories
from conrec.data.instances import Instances, Ragged, as_events, as_items
from conrec.data.knowledge import Knowledge
from conrec.data.split import Split
from conrec.decode.decoder import Decoder
from conrec.decode.inputs import Inputs
from conrec.decode.trie import Trie
from conrec.deploy.live import (
    Live,
    Retraction,
    changed_users,
    input_digest,
    read_live,
    read_part,
    read_retractions,
    take_in,
)
from conrec.errors import ConrecError
from conrec.features.item_features import FeatureWeights
from conrec.features.log_view import LogView
from conrec.features.weight_search import read_weights
from conrec.filter import snapshot as published
from conrec.filter.publish import SetItems, SetWriter
from conrec.filter.stores import Kind, open_users
from conrec.filter.user_store import Layout, Users
from conrec.items.fields import fields_of
from conrec.lm.model import build_policy, device, load_trained_policy
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import say
from conrec.score.filter_score import FilterScore, ScoreAtCutoff, run_score
from conrec.score.history import HistoryScore
from conrec.sid.catalog import unit_rows
from conrec.toml import recipe_toml

PAST_DISLIKES, PAST_LIKES = 20, 20
"""So many are kept of each user: to say why, to be taken back, and for the page."""
USERS_AT_ONCE = 10_000
STAGES = ("prepare", "compress", "utilize", "score", "predict", "filter")
"""What a set is made from."""


@dataclass(frozen=True)
class Refreshed:
    """What a call did."""

    version: str
    """The set in use."""
    changed: bool
    """Whether it is a new one."""
    users: int
    recomputed: int
    """Users whose predictions were made anew."""
    account: dict[str, Any] | None
    """What became of every row of the input; None without one."""

    def __str__(self) -> str:
        lines = []
        if self.account is not None:
            lines += [_account_line("events", self.account)]
            if self.account.get("items", {}).get("read"):
                lines += [_account_line("items", self.account["items"])]
        state = "in use" if self.changed else "stays in use: nothing is new"
        return "\n".join([*lines, f"{self.version} {state}; {self.users:,} users, {self.recomputed:,} made anew"])


def refresh(
    run: Path,
    recipe: Recipe,
    *,
    sets: Path | None = None,
    events: Path | None = None,
    items: Path | None = None,
    images: Path | None = None,
    keep: int = 7,
    seed: int | None = None,
    store: Kind | None = None,
) -> Refreshed:
    """Take in a day (files of events and of items, either may be missing) and put a new set into use.

    sets: where, `run/sets` if None; keep: that many versions stay; store: where the users go (None: as before, first
    memory-mapped). ConrecError for a run that has not come as far as its filter stage, for files that cannot be used
    (with the row), and where another job works in `sets`.
    """
    if keep < 1:
        raise ConrecError(f"--keep {keep}: at least 1 version must stay")
    sets = run / "sets" if sets is None else sets
    seed = recipe.seeds[0] if seed is None else seed
    score, calibration = _score(run, seed)
    with _alone(sets):
        in_use = _in_use(sets)
        # A set of another run, or of another score, has nothing that could be carried over.
        base = _base(run, seed, score)
        before = in_use if in_use is not None and in_use.made_from.get("base") == base else None
        state = before.made_from if before is not None else None
        _remove_orphans(sets)
        retractions = read_retractions(sets)
        first = state["first_retractions"] if state else len(retractions)
        parts: list[str] = list(state["parts"]) if state else []
        digest = None if events is None and items is None else input_digest(events, items)
        taken_in = {read_part(sets / "live" / name)["input"]: name for name in parts}
        made_from = {
            "base": base,
            "seed": seed,
            "parts": parts,
            "retractions": len(retractions),
            "first_retractions": first,
            "calibration": calibration and _digest(calibration),
            "parent": in_use.version if in_use is not None else None,
        }
        told = ("base", "parts", "retractions", "calibration")
        nothing_new = state is not None and all(state[name] == made_from[name] for name in told)
        if before is not None and nothing_new and (digest is None or digest in taken_in):
            account = None if digest is None else read_part(sets / "live" / taken_in[digest])["account"]
            return Refreshed(before.version, False, before.users["count"], 0, account)

        live = read_live(run, sets, parts, first, retractions)
        account = None
        if digest in taken_in:
            account = read_part(sets / "live" / taken_in[digest])["account"]
        elif digest is not None:
            part, account = take_in(sets, parts, live, run, recipe, events, items, images, len(retractions))
            if part is not None:
                made_from["parts"] = parts = [*parts, part]
                live = read_live(run, sets, parts, first, retractions)
            elif before is not None and nothing_new:
                return Refreshed(before.version, False, before.users["count"], 0, account)
        made_from["cutoff"] = f"{live.cutoff}Z"
        if calibration is None:
            say(f"{run}: no calibration.json, so this set drops nothing; run conrec calibrate and refresh again")
        changed = None if state is None else _changed(sets, parts[len(state["parts"]) :], state, retractions)
        kind = store or (in_use.users["kind"] if in_use is not None else "mapped")
        job = _Job(run, recipe, seed, sets, live, score, calibration)
        version, users, recomputed = job.publish(before, changed, made_from, keep, kind)
        _remove_orphans(sets)
    return Refreshed(version, True, users, recomputed, account)


def roll_back(sets: Path) -> str:
    """Put the set that the one in use was made after back into use, with the log it knew; its version."""
    if published.current(sets) is None:
        raise ConrecError(f"{sets}: nothing was published here yet, so there is nothing to go back to")
    with _alone(sets):
        in_use = _in_use(sets)
        assert in_use is not None
        parent = in_use.made_from.get("parent")
        if parent not in published.versions(sets):
            raise ConrecError(f"{sets}: what came before {in_use.version} is not kept; there is nothing to go back to")
        published.use(sets, parent)
    return str(parent)


def write_merged(run: Path, recipe: Recipe, sets: Path, out: Path) -> Path:
    """The log so far as a log to train on: events.parquet, items.parquet and a recipe.toml that reads them.

    Pictures are in the items file, as bytes. Returns the recipe's path. ConrecError where the set in use is of another
    run.
    """
    in_use, retractions = _in_use(sets), read_retractions(sets)
    if in_use is not None:
        seed = in_use.made_from.get("seed", recipe.seeds[0])
        if in_use.made_from.get("base") != _base(run, seed, _score(run, seed)[0]):
            raise ConrecError(f"{sets}: {in_use.version} was made from another run than {run}; name that one")
    parts = in_use.made_from["parts"] if in_use is not None else []
    first = in_use.made_from["first_retractions"] if in_use is not None else len(retractions)
    live = read_live(run, sets, parts, first, retractions)
    pictures = []
    home = (run / "prepare").resolve()
    for name, content in zip(live.items["image"].to_pylist(), live.items["image_bytes"].to_pylist()):
        # Those of a day are absolute; those of the run may be relative to its folder, and must not lead out of it.
        path = None if name is None else (home / name).resolve()
        readable = path is not None and path.is_file() and (Path(name).is_absolute() or path.is_relative_to(home))
        pictures.append(path.read_bytes() if content is None and path is not None and readable else content)
    table = live.items.drop_columns(["image", "image_bytes"])
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.append_column("image", pa.array(pictures, pa.large_binary())), out / "items.parquet")
    pq.write_table(live.events, out / "events.parquet")
    data = DataConfig("generic", min_user_dislikes=recipe.data.min_user_dislikes)
    (out / "recipe.toml").write_text(recipe_toml(replace(recipe, data=data)), encoding="utf-8")
    return out / "recipe.toml"


@dataclass(frozen=True)
class _Job:
    """One set being made."""

    run: Path
    recipe: Recipe
    seed: int
    sets: Path
    live: Live
    score: FilterScore
    calibration: dict[str, Any] | None

    def publish(
        self,
        before: published.Manifest | None,
        changed: np.ndarray | None,
        made_from: dict[str, Any],
        keep: int,
        kind: Kind,
    ) -> tuple[str, int, int]:
        """The version, its users and how many of them were made anew: all, or `changed` (str) with the others from
        the set `before`."""
        live, cutoff = self.live, self.live.cutoff
        items = as_items(live.items)
        events = as_events(live.events, items)
        split = Split.read(self.run / "prepare")
        # Split by users, what is known of the items is the whole log of known users; here that is everybody.
        everybody = events.owners()[0] if split.mode == "users" else None
        log_view = LogView(
            items, events, live.catalog, unit_rows(live.embeddings), fields_of(live.items), train_users=everybody
        )
        knowledge = Knowledge(items, events, everybody)
        score = self.score.at(log_view, cutoff)
        side = score.item_factors()
        histories = Histories(items, events, cutoff)
        layout = Layout(self.recipe.predict.k, PAST_DISLIKES, PAST_LIKES, side.vectors.shape[1])
        predictor = _Predictor(self, log_view, score, knowledge, split)
        contents = SetItems(items.ids, items.titles, items.categories, live.catalog.codes, side)
        users = recomputed = 0
        with SetWriter(
            self.sets,
            contents,
            layout,
            self.score.name,
            self.score.cosine_weight,
            self.calibration,
            made_from["retractions"],
            made_from,
            kind,
        ) as writer:
            if before is not None and changed is not None:
                old = open_users(self.sets / before.version, before)
                for portion in old.portions():
                    stays = np.flatnonzero(~np.isin(np.array(portion.ids, str), changed))
                    writer.add(_take(portion, stays))
                    users += len(stays)
                old.close()
            asked = histories.users if changed is None else changed
            for start in range(0, len(asked), USERS_AT_ONCE):
                some = histories.of(
                    asked[start : start + USERS_AT_ONCE],
                    self.recipe.split.max_dislikes,
                    self.recipe.split.max_positives,
                )
                # The replay that calibrates is of users with a dislike; of the others nothing was promised.
                some = some.take(some.n_dislikes > 0)
                if len(some):
                    writer.add(predictor.users(some))
                    users += len(some)
                    recomputed += len(some)
            version = writer.publish(keep)
        return version, users, recomputed


class _Predictor:
    """The run's model on the log so far; loaded when the first user is asked for."""

    def __init__(self, job: _Job, log_view: LogView, score: ScoreAtCutoff, knowledge: Knowledge, split: Split) -> None:
        self._job, self._log_view, self._score = job, log_view, score
        no_neighbours = np.zeros((len(log_view.items), 0), np.int32)
        trie = Trie.of(log_view.catalog.codes, log_view.catalog.sizes, device())
        none = Histories(log_view.items, log_view.events, job.live.cutoff).of(np.zeros(0, str), 0, 0)
        self._inputs = Inputs(job.recipe, log_view, none, split, knowledge, trie, no_neighbours)
        self._decoder: Decoder | None = None
        self._weights = FeatureWeights()

    def users(self, instances: Instances) -> Users:
        """Predictions and everything else that the filter keeps of these users."""
        predicted = self._predict(instances)
        dislikes = _newest(instances.dislikes, PAST_DISLIKES)
        vectors, biases = self._score.user_factors(instances)
        return Users(
            instances.users.tolist(),
            predicted,
            _because(self._log_view.catalog.unit, predicted, dislikes),
            dislikes,
            _newest(instances.positives, PAST_LIKES),
            vectors,
            biases,
            (instances.n_dislikes + instances.n_positives).astype(np.int32),
        )

    def _predict(self, instances: Instances) -> np.ndarray:
        """int32 [B, k]: rows of the predicted dislikes, best first, -1 where there are no more."""
        if self._decoder is None:
            self._decoder, self._weights = self._load()
        title = f"predict for {len(instances):,} users"
        ((rows, _),) = self._decoder.predict(instances, [self._weights], title)
        return rows

    def _load(self) -> tuple[Decoder, FeatureWeights]:
        job, seed = self._job, f"seed{self._job.seed}"
        utilized, stages = job.run / "utilize" / seed, job.recipe.utilize.stages
        vocabulary = Vocabulary.load(utilized / "tokenizer")
        policy = build_policy(job.recipe.lm, vocabulary, self._log_view.catalog.codewords, job.seed).to(device())
        load_trained_policy(policy, utilized / f"stage{len(stages)}")
        weights, exposures = read_weights(job.run / "predict" / seed)
        history = HistoryScore.load(job.run / "score" / seed) if weights.propensity else None
        features = self._inputs.item_features(exposures, history)
        return Decoder(self._inputs, vocabulary, policy, stages[-1].context, features), weights


def _base(run: Path, seed: int, score: FilterScore) -> str:
    """What a set is made from beside the days taken in: the run's stages and the score.

    ConrecError where a stage is missing.
    """
    digests = []
    for stage in STAGES:
        folder = run / stage if stage in ("prepare", "compress") else run / stage / f"seed{seed}"
        try:
            digests.append(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["outputs"])
        except (OSError, ValueError, KeyError):
            raise ConrecError(f"{folder}: not there or not complete; bring the run as far as filter first") from None
    return _digest([digests, score.name])


def _score(run: Path, seed: int) -> tuple[FilterScore, dict[str, Any] | None]:
    """The score to serve and its calibration: the run's own score, unless the calibration is for the paper's."""
    folder = run / "filter" / f"seed{seed}"
    score = run_score(run, seed)
    path = run / "calibration.json"
    if not path.exists():
        return score, None
    try:
        calibration: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        name, scores = calibration["score"], calibration["evidence"]["scores"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConrecError(f"{path}: not readable ({error}); run conrec calibrate again") from None
    with (folder / "scores.parquet").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != scores:
            raise ConrecError(f"{path}: made from other scores than {folder} holds; run conrec calibrate again")
    return FilterScore() if name == "paper" else score, calibration


def _in_use(sets: Path) -> published.Manifest | None:
    """The manifest of the version in use."""
    version = published.current(sets)
    return None if version is None else published.read_manifest(sets / version)


def _changed(
    sets: Path, new_parts: list[str], state: dict[str, Any], retractions: list[Retraction | None]
) -> np.ndarray:
    """str: users with something new since the state: events that tell, or dislikes taken back."""
    named = [changed_users(pq.read_table(sets / "live" / name / "events.parquet")) for name in new_parts]
    took_back = [line.user for line in retractions[state["retractions"] :] if line is not None]
    return np.unique(np.concatenate([*named, np.array(took_back, str)]))


def _remove_orphans(sets: Path) -> None:
    """Delete parts that no version names: of calls that were killed, or of versions that are gone."""
    manifests = [published.read_manifest(sets / version) for version in published.versions(sets)]
    named = {name for manifest in manifests for name in manifest.made_from.get("parts", ())}
    for folder in (sets / "live").iterdir():
        if folder.is_dir() and folder.name not in named:
            shutil.rmtree(folder)


@contextlib.contextmanager
def _alone(sets: Path) -> Iterator[None]:
    """Nobody else runs the job for these sets meanwhile."""
    (sets / "live").mkdir(parents=True, exist_ok=True)
    with (sets / "live" / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConrecError(f"{sets}: another refresh is at work here; wait for it") from None
        yield


def _take(users: Users, rows: np.ndarray) -> Users:
    """The users at `rows`."""
    return Users(
        [users.ids[n] for n in rows.tolist()],
        users.predicted[rows],
        users.because[rows],
        users.dislikes[rows],
        users.liked[rows],
        users.vectors[rows],
        users.biases[rows],
        users.activity[rows],
    )


def _newest(lists: Ragged, width: int) -> np.ndarray:
    """int32 [B, width]: the last of each list, last first, -1 where there are no more."""
    place = np.arange(width)
    rows = np.full((len(lists), width), -1, np.int32)
    there = place < lists.lengths[:, None]
    at = lists.offsets[1:, None] - 1 - place
    rows[there] = lists.values[at[there]]
    return rows


def _because(unit: np.ndarray, predicted: np.ndarray, dislikes: np.ndarray) -> np.ndarray:
    """int8 [B, K]: which past dislike (its position) each prediction is closest to, -1 without any."""
    cosine = np.einsum("bkd,bmd->bkm", unit[predicted], unit[dislikes], optimize=True)
    cosine[np.broadcast_to(dislikes[:, None] < 0, cosine.shape)] = -np.inf
    nearest = cosine.argmax(axis=2).astype(np.int8)
    nearest[(predicted < 0) | (dislikes[:, :1] < 0)] = -1
    return nearest


def _account_line(what: str, account: dict[str, Any]) -> str:
    """For example `events: 812 read, 790 kept; dropped: duplicate 20, unknown_item 2`."""
    dropped = ", ".join(f"{cause} {count:,}" for cause, count in account["dropped"].items())
    return f"{what}: {account['read']:,} read, {account['kept']:,} kept" + (f"; dropped: {dropped}" if dropped else "")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
