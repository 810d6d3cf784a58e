"""The recipe: one dataclass a stage, read from TOML, checked field by field.

A recipe is a TOML file with one table per dataclass below. Whatever it leaves out has the default written here,
so a recipe holds only what is particular about its data.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from conrec.errors import ConrecError


def _check(
    config: object,
    names: str,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    empty: bool = False,
) -> None:
    """ValueError for a field that is not within bounds, or holds a value that is not; `empty`: a list may be."""
    bounds = {"above": above, "at least": at_least, "below": below}
    wanted = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    for name in names.split():
        value = getattr(config, name)
        if value == () and not empty:
            raise ValueError(f"{name} = []; it must hold at least one value")
        for one in value if isinstance(value, tuple) else (value,):
            # A comparison with nan is false, so nan is never within bounds.
            inside = (above is None or one > above) and (at_least is None or one >= at_least)
            if not (inside and (below is None or one < below)):
                raise ValueError(f"{name} = {one}; it must be {wanted}")


@dataclass(frozen=True)
class DataConfig:
    """Where the log comes from and what counts as a dislike."""

    adapter: Literal["simulated", "movietweetings", "movielens", "kuairand", "recif", "generic"] = "simulated"
    """Which reader understands the files."""
    dislike_at_most: float | None = None
    """Rating data: a rating up to this is a dislike (in the data's own scale)."""
    like_at_least: float | None = None
    """Rating data: a rating from this on is a positive; what lies between is a neutral exposure."""
    columns: dict[str, str] = field(default_factory=dict)
    """Generic log: our column name -> the log's column name."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Generic log: the log's value in its kind column -> our event kind."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Generic log: the log's reason code -> our reason; or, with `reason_columns`, 0/1 column -> our reason."""
    reason_columns: tuple[str, ...] = ()
    """Generic log: several 0/1 columns, one a reason, instead of one column of codes."""
    min_user_dislikes: int = 0
    """Drop users with fewer dislikes than this in the whole log (0 keeps everybody)."""

    @property
    def simulated(self) -> bool:
        """The log is drawn, by `SimulateConfig`, not read."""
        return self.adapter == "simulated"


@dataclass(frozen=True)
class SimulateConfig:
    """The simulated platform (only for `data.adapter = "simulated"`)."""

    users: int = 3000
    """Users at the end; half of them are there from the first day, the others join day by day."""
    items: int = 1500
    """Items at the end; six in ten are listed before the first day, the others day by day."""
    days: int = 100
    seed: int = 7
    exposures_per_day: float = 9.0
    """Items that a user is shown on an average day (users differ)."""
    dislike_if_matched: float = 0.3
    """Chance that an item shown is disliked when one of the user's rules matches it (rules differ by +-25 %)."""
    dislike_otherwise: float = 0.002
    """The same when none does: noise."""
    memory_days: float = 7.0
    """Time constant of the recommender's memory of positives."""
    damping: float = 0.3
    """What one fresh dislike leaves of how often the platform shows the item's leaf category (1: no damping)."""
    damping_days: float = 10.0
    """Time constant of that damping."""
    picture_size: int = 96
    """Width and height of a product picture in pixels."""

    def __post_init__(self) -> None:
        if min(self.users, self.items, self.days) < 1 or self.exposures_per_day <= 0:
            raise ValueError("users, items, days and exposures_per_day must be positive")
        if not (0 <= self.dislike_if_matched <= 0.8 and 0 <= self.dislike_otherwise <= 1):
            raise ValueError("dislike_if_matched must be in 0..0.8 and dislike_otherwise in 0..1")
        if not 0 < self.damping <= 1 or min(self.memory_days, self.damping_days) <= 0:
            raise ValueError("damping must be in (0, 1], memory_days and damping_days positive")
        if not 16 <= self.picture_size <= 512:
            raise ValueError("picture_size must be in 16..512")


@dataclass(frozen=True)
class SplitConfig:
    """How instances are cut out of the log (protocol)."""

    mode: Literal["time", "users"] = "time"
    """`time`: global split by time. `users`: strong generalisation over folds of users."""
    cutoffs: Literal["rolling", "per_user"] = "rolling"
    """`rolling`: a cutoff every horizon. `per_user`: one cutoff just before the user's middle dislike."""
    horizon_days: int = 7
    recent_days: int = 3
    """Stage one of the curriculum sees the dislikes of this many days."""
    validation_from: float = 0.7
    """Quantile of the dislikes' times at which validation begins (floored to midnight UTC)."""
    test_from: float = 0.8
    fold: int = 0
    """`users` mode: which of the five rotations (0..4)."""
    max_dislikes: int = 50
    """The newest dislikes of a history that an instance keeps."""
    max_positives: int = 100
    candidates: int = 20
    """Size of the candidate set of CandAcc: the true next dislike and the rest distractors."""
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self, "recent_days max_dislikes", at_least=1)
        _check(self, "max_positives", at_least=0)
        _check(self, "candidates", at_least=2)


@dataclass(frozen=True)
class ItemsConfig:
    """Items to embeddings and neighbours."""

    text: str = "tfidf"
    """`tfidf`, or a sentence-transformers checkpoint (hub name or folder)."""
    image: str = "hog"
    """`hog`, `none`, or a CLIP-like checkpoint (hub name or folder)."""
    text_dimensions: int = 96
    image_dimensions: int = 32
    fields_dimensions: int = 32
    fields_weight: float = 2.0
    """Weight of the block of category and attributes against the title's, each of unit norm before (0: none)."""
    image_weight: float = 0.5
    """Weight of the image block against the title's, each of unit norm before."""
    swing_alpha1: float = 5.0
    swing_alpha2: float = 1.0
    swing_theta: float = 0.5
    swing_min_overlap: int = 1
    """Pairs of users with fewer items in common than this do not count (the paper's Id; 1 counts all)."""
    swing_neighbours: int = 20
    swing_max_users: int = 500
    """At most this many users of an item are looked at (sampled)."""
    swing_max_items: int = 500
    """Users with more dislikes than this contribute only their newest ones."""

    def __post_init__(self) -> None:
        _check(self, "text_dimensions image_dimensions fields_dimensions", at_least=1)
        _check(self, "fields_weight image_weight swing_alpha1 swing_alpha2 swing_theta", at_least=0)
        _check(self, "swing_min_overlap swing_neighbours swing_max_users swing_max_items", at_least=1)


@dataclass(frozen=True)
class SidConfig:
    """Embeddings to semantic IDs."""

    method: Literal["rqvae", "kmeans"] = "rqvae"
    levels: int = 3
    codes: int = 0
    """Codes per level; 0 sizes the codebook to the catalogue."""
    dimensions: int = 64
    """Width of the latent space that is quantised and that the filter compares in."""
    hidden: tuple[int, ...] = (128,)
    epochs: int = 60
    batch: int = 512
    """At most; a small catalogue is cut into twenty batches an epoch."""
    learning_rate: float = 1e-3
    commitment: float = 0.25
    """Lambda of equation 1."""
    ema_decay: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self, "levels dimensions epochs batch", at_least=1)
        _check(self, "hidden", at_least=1, empty=True)
        _check(self, "codes commitment", at_least=0)
        _check(self, "learning_rate", above=0)
        _check(self, "ema_decay", at_least=0, below=1)


@dataclass(frozen=True)
class LmConfig:
    """The language model."""

    checkpoint: str = ""
    """A Hugging Face decoder-only checkpoint (hub name or folder); empty builds the embedded small Qwen3."""
    hidden: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 384
    vocabulary: int = 2000
    """Size of the byte-level BPE trained on the catalogue's titles (embedded model only)."""
    lora_rank: int = 0
    """0 trains every weight (the embedded model's default); above 0 trains LoRA and the new token rows."""
    max_dislikes: int = 20
    """The newest dislikes of a history that go into a prompt."""
    max_positives: int = 20
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the model calculates in; `auto` is bfloat16 on a GPU that has it and float32 elsewhere. Weights that train
    are float32 either way."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""

    def __post_init__(self) -> None:
        _check(self, "hidden layers heads kv_heads ffn vocabulary max_dislikes", at_least=1)
        _check(self, "lora_rank max_positives", at_least=0)
        if not self.checkpoint and (self.hidden % (2 * self.heads) or self.heads % self.kv_heads):
            raise ValueError(
                f"hidden = {self.hidden}, heads = {self.heads}, kv_heads = {self.kv_heads}; "
                "hidden must be a multiple of twice the heads, and heads of kv_heads"
            )


@dataclass(frozen=True)
class UnderstandConfig:
    """Translation and item-level alignment."""

    translation_epochs: float = 2.0
    alignment_epochs: float = 1.0
    alignment_samples: int = 20000
    alignment_min_repeats: int = 2
    """A dislike is sure when the user disliked at least this many items under the same first code."""
    alignment_held_out: float = 0.1
    row_tokens: int = 1024
    """Length of a packed row."""
    rows_per_step: int = 4
    learning_rate: float = 1e-3
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        _check(self, "translation_epochs alignment_epochs", at_least=0)
        _check(self, "alignment_samples alignment_min_repeats", at_least=1)
        _check(self, "alignment_held_out", at_least=0, below=1)
        _check(self, "row_tokens rows_per_step checkpoint_every", at_least=1)
        _check(self, "learning_rate", above=0)


@dataclass(frozen=True)
class GrpoStage:
    """One stage of the curriculum."""

    context: Literal["recent", "dislikes", "full"] = "full"
    """`recent`: dislikes of the last days; `dislikes`: all; `full`: dislikes and positives."""
    prompts: int = 2000
    beta: float = 0.02
    """Weight of the KL to the reference."""

    def __post_init__(self) -> None:
        _check(self, "prompts", at_least=1)
        _check(self, "beta", at_least=0)


@dataclass(frozen=True)
class UtilizeConfig:
    """Warm-up and progressive GRPO."""

    warmup_context: Literal["recent", "dislikes", "full", "mixed"] = "full"
    """What the warm-up's prompts show; `mixed` shows every instance in all three contexts."""
    warmup_targets: Literal["next", "future"] = "next"
    history_dropout: float = 0.0
    """Chance of each event of a history to be left out whenever the warm-up uses the prompt (augmentation)."""
    warmup_epochs: float = 2.0
    warmup_batch: int = 32
    warmup_learning_rate: float = 1e-3
    num_generations: int = 16
    """Answers drawn for a prompt (the group's size, G)."""
    prompts_per_step: int = 16
    num_iterations: int = 2
    """Optimiser updates on one rollout."""
    epsilon: float = 0.2
    """Clipping range of the probability ratio."""
    gamma: float = 0.5
    """Weight of the future positives in equation 6."""
    hit_bonus: float = 0.0
    """Added to the similarity of an answer that is exactly one of the future dislikes (0: the paper's reward)."""
    demonstrations: int = 0
    """At most this many of a group's answers are not drawn, but are dislikes that the user really went on to voice (0:
    the paper's groups). Lets the exact hit earn an advantage in every group."""
    swing_neighbours: int = 5
    """Swing neighbours of every future dislike that join the ground truth (0: none)."""
    learning_rate: float = 1e-4
    stages: tuple[GrpoStage, ...] = (
        GrpoStage("recent"),
        GrpoStage("dislikes"),
        GrpoStage("full"),
    )
    checkpoint_every: int = 25
    validation_users: int = 256
    """Instances of validation that the training curves look at."""

    def __post_init__(self) -> None:
        _check(self, "warmup_batch", at_least=1)
        _check(self, "history_dropout", at_least=0, below=1)
        _check(self, "warmup_epochs", at_least=0)
        _check(self, "warmup_learning_rate learning_rate epsilon", above=0)
        _check(self, "num_generations", at_least=2)
        _check(self, "prompts_per_step num_iterations checkpoint_every validation_users", at_least=1)
        _check(self, "gamma hit_bonus demonstrations swing_neighbours", at_least=0)
        if self.demonstrations >= self.num_generations:
            drawn = f"some of the group's {self.num_generations} answers must be drawn"
            raise ValueError(f"demonstrations = {self.demonstrations}; {drawn}")


@dataclass(frozen=True)
class PredictConfig:
    """Constrained beam search."""

    k: int = 20
    beams: int = 100
    """Inner beam; the best k items of it are kept."""
    batch: int = 32
    prior_days: float = 14.0
    """Time constant of the item prior, in days."""
    prior_smoothing: float = 0.05
    """Added to every item on offer, so that nothing is impossible."""
    prior_weights: tuple[float, ...] = (0.0, 1.0, 1.5)
    """Exponents of the prior in decoding. They and those below are chosen on validation by FHR@20, one after the
    other until no change of one is better (`stages.tune`). (0.0,) switches the prior off. Where given candidates are
    ranked, what is not switched off gets a fitted weight instead (`features.candidate_weights`)."""
    content_weights: tuple[float, ...] = (0.0, 1.0)
    """Of how close an item is to the user's own past dislikes (`decode.item_features`). (0.0,) switches it off."""
    co_dislike_weights: tuple[float, ...] = (0.0, 0.5, 2.0)
    """Of what was disliked by the people who disliked what the user disliked."""
    exposures: tuple[float, ...] = (0.0, 1.0)
    """Of how likely the user is to be shown the item (`features.exposures`)."""
    attributes: tuple[float, ...] = (0.0, 1.0, 1.5)
    """Of how often the user, shown such items, disliked them for what they are like (`features.attribute_rates`)."""
    propensity_weights: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    """Of the odds that the user, shown the item, dislikes it (`filtering.propensity`)."""
    temperatures: tuple[float, ...] = (1.0, 4.0)
    """Of the policy: the higher, the less it counts beside all of these; `inf` leaves it out."""
    tuning_instances: int = 2000
    """At most so many instances of validation, evenly spread, are looked at to choose."""

    def __post_init__(self) -> None:
        _check(self, "k beams batch tuning_instances", at_least=1)
        _check(self, "prior_days prior_smoothing temperatures", above=0)
        _check(
            self,
            "prior_weights content_weights co_dislike_weights exposures attributes propensity_weights",
            at_least=0,
            below=math.inf,
        )


@dataclass(frozen=True)
class FilterConfig:
    """Which ranked candidates are dropped."""

    score: Literal["default", "paper"] = "default"
    """`default`: histories, the model asked for both polarities, and the paper's score, combined (docs/filter.md).
    `paper`: the largest cosine to a predicted dislike."""
    contrast_histories: int = 6000
    """Histories that the model is fine-tuned on to tell dislikes from likes; 0 leaves that part out."""
    contrast_learning_rate: float = 2e-3
    threshold: float | None = None
    """Drop a candidate whose score exceeds this; empty: chosen on validation."""
    likes_lost: float = 0.02
    """The budget that chooses the threshold on validation where none is given."""

    def __post_init__(self) -> None:
        _check(self, "contrast_histories", at_least=0)
        _check(self, "contrast_learning_rate", above=0)
        _check(self, "likes_lost", above=0, below=1)


@dataclass(frozen=True)
class EvaluateConfig:
    """The protocol's numbers."""

    k: int = 20
    bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self, "k bootstrap", at_least=1)


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs to know, apart from where the data lies and where the results go."""

    name: str = "demo"
    seeds: tuple[int, ...] = (0,)
    data: DataConfig = field(default_factory=DataConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    items: ItemsConfig = field(default_factory=ItemsConfig)
    sid: SidConfig = field(default_factory=SidConfig)
    lm: LmConfig = field(default_factory=LmConfig)
    understand: UnderstandConfig = field(default_factory=UnderstandConfig)
    utilize: UtilizeConfig = field(default_factory=UtilizeConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; an unknown key, a wrong type or a value out of range names the key and the file."""
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        raise ConrecError(f"{path}: there is no such recipe; see the folder recipes/ for some") from None
    except tomllib.TOMLDecodeError as error:
        raise ConrecError(f"{path}: not valid TOML: {error}") from None
    recipe: Recipe = _build(Recipe, table, str(path), "")
    return recipe


def _build(cls: type, table: Any, source: str, prefix: str) -> Any:
    """A dataclass from a TOML table, with errors that name the key."""
    if not isinstance(table, dict):
        raise ConrecError(f"{source}: {prefix or 'the recipe'} must be a table, not {table!r}")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    for key in table:
        if key not in known:
            raise ConrecError(f"{source}: unknown key {prefix}{key}; known here: {', '.join(sorted(known))}")
    values = {key: _convert(hints[key], value, source, prefix + key) for key, value in table.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise ConrecError(f"{source}: {prefix}{error}") from None


def _convert(hint: Any, value: Any, source: str, key: str) -> Any:
    """`value` as the type that the field asks for, or an error that names the key."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, source, key + ".")
    if origin is Literal:
        if value not in args:
            raise ConrecError(f"{source}: {key} = {value!r}; allowed: {', '.join(map(str, args))}")
        return value
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in args if a is not type(None)]
        return _convert(inner[0], value, source, key)
    if origin is tuple:
        if not isinstance(value, list):
            raise ConrecError(f"{source}: {key} must be a list, not {value!r}")
        return tuple(_convert(args[0], v, source, f"{key}[{n}]") for n, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConrecError(f"{source}: {key} must be a table, not {value!r}")
        return {str(k): str(v) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConrecError(f"{source}: {key} must be {hint.__name__}, not {value!r}")
    return value
