"""The recipe: all settings of a run, one dataclass a stage, read from a TOML file with one table a dataclass.

What a recipe leaves out has the default written here, so it holds only what is particular about its data.
`docs/settings.md` is made from this file (`python docs/settings.py > docs/settings.md`).
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from conrec.errors import ConrecError
from conrec.toml import read_table, read_toml, typed

PositiveInt = Annotated[int, Meta(ge=1, le=10**9)]
NonNegativeInt = Annotated[int, Meta(ge=0, le=10**9)]
PositiveFloat = Annotated[float, Meta(gt=0, le=1e9)]
NonNegativeFloat = Annotated[float, Meta(ge=0, le=1e9)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Feature = Literal["content_similarity", "co_dislike_score", "ease", "sequence", "exposure", "attribute", "propensity"]


@dataclass(frozen=True)
class DataConfig:
    """Where the log comes from, and what counts as a dislike."""

    adapter: Literal["simulated", "movietweetings", "movielens", "kuairand", "polis", "generic"] = "simulated"
    """Which reader understands the files; `simulated` draws the log instead, `generic` reads your own."""
    dislike_at_most: Number | None = None
    """Ratings up to this are dislikes (in the log's own scale)."""
    like_at_least: Number | None = None
    """Ratings from this on are positives (in the log's own scale); what lies between is an exposure."""
    columns: dict[str, str] = field(default_factory=dict)
    """Generic log: our column name -> the log's."""
    kinds: dict[str, str] = field(default_factory=dict)
    """Generic log: a value of the log's kind column -> our kind of event."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Generic log: the log's code of a reason -> our reason; with `reason_columns`, the column's name -> our reason."""
    reason_columns: tuple[str, ...] = ()
    """Generic log: columns of 0 and 1, one a reason, in place of one column of codes."""
    min_user_dislikes: NonNegativeInt = 0
    """Users with fewer dislikes than this in the whole log are left out; 0 keeps everybody."""

    @property
    def simulated(self) -> bool:
        """Whether the log is drawn, by `SimulateConfig`, not read."""
        return self.adapter == "simulated"


@dataclass(frozen=True)
class SimulateConfig:
    """The simulated platform (only for `data.adapter = "simulated"`)."""

    users: PositiveInt = 3000
    """Users at the end; half of them are there from the first day, the others join day by day."""
    items: PositiveInt = 1500
    """Items at the end; six in ten are listed before the first day, the others day by day."""
    days: PositiveInt = 100
    """Length of the log in days."""
    seed: NonNegativeInt = 7
    """Seed of everything that is drawn; another seed is another platform."""
    exposures_per_day: PositiveFloat = 9.0
    """Items that a user is shown on an average day (users differ)."""
    dislike_if_matched: Annotated[float, Meta(ge=0, le=0.8)] = 0.3
    """Probability of a dislike for an exposure that one of the user's hidden rules matches (rules differ by +-25 %)."""
    damping: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """Factor by which one fresh dislike lowers how often its leaf category is shown to the user (1: not at all)."""
    attribute_columns: bool = False
    """Give the catalogue columns of the attributes by which users dislike, which no shop has. Events stay the same."""


@dataclass(frozen=True)
class SplitConfig:
    """How the log becomes instances for training, validation and test."""

    mode: Literal["time", "users"] = "time"
    """`time`: train, validation and test follow each other; `users`: they are different users (five folds)."""
    cutoffs: Literal["rolling", "per_user"] = "rolling"
    """`rolling`: one cutoff every `horizon_days`; `per_user`: one, just before the user's middle dislike."""
    horizon_days: Annotated[int, Meta(ge=1, le=3650)] = 7
    """Days after a cutoff whose dislikes are to be predicted."""
    validation_from: Fraction = 0.7
    """Validation begins when this share of all dislikes has happened (at midnight UTC before it)."""
    test_from: Fraction = 0.8
    """Test begins when this share of all dislikes has happened (at midnight UTC before it)."""
    fold: Annotated[int, Meta(ge=0, le=4)] = 0
    """With `mode = "users"`: which of the five folds is test (0 to 4)."""
    pool: Literal["all", "category"] = "all"
    """What is on offer: `all` that the user has not consumed; `category`: what the user has not met of the categories
    (conversations, say) that the user has taken part in."""
    max_dislikes: PositiveInt = 50
    """Newest dislikes of a history that an instance keeps."""
    max_positives: NonNegativeInt = 100
    """Newest positives of a history that an instance keeps."""
    seed: NonNegativeInt = 0
    """Seed of the folds of users and of the distractors."""


@dataclass(frozen=True)
class ItemsConfig:
    """Items to embeddings and neighbours."""

    text: str = "tfidf"
    """Encoder of titles: `tfidf`, or a sentence-transformers checkpoint (hub name or folder) beside it."""
    image: str = "hog"
    """Encoder of pictures: `hog`, `none`, or a CLIP-like checkpoint (hub name or folder)."""
    fields_weight: NonNegativeFloat = 2.0
    """Weight of category and attributes in the embedding, where the title's is 1 (0: none)."""
    image_weight: NonNegativeFloat = 0.5
    """Weight of the picture in the embedding, where the title's is 1 (0: none)."""
    traits: bool = True
    """Read traits from titles and pictures (`items.traits`), beside category and attributes."""
    swing_neighbours: PositiveInt = 20
    """Neighbours of each item that Swing (equation 5) keeps."""


@dataclass(frozen=True)
class SidConfig:
    """Embeddings to semantic IDs."""

    method: Literal["rqvae", "kmeans"] = "rqvae"
    """How the codebook is learned: an RQ-VAE, or residual k-means on the embeddings themselves."""
    levels: Annotated[int, Meta(ge=0, le=26)] = 3
    """Codes in a semantic ID; 0: items have none, so no lists are predicted, and the run learns the filter alone."""
    codes: NonNegativeInt = 0
    """Codes per level; 0 sizes the codebook to the catalogue."""
    dimensions: PositiveInt = 64
    """Length of the latent vectors that are quantised, and that the filter compares."""
    hidden: tuple[PositiveInt, ...] = (128,)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    epochs: PositiveInt = 60
    """Passes over the catalogue."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of the optimiser."""


@dataclass(frozen=True)
class LmConfig:
    """The language model."""

    checkpoint: str = ""
    """A Hugging Face decoder-only checkpoint (hub name or folder); empty builds a small Qwen3 of the sizes below."""
    hidden: PositiveInt = 128
    """Width of the small model."""
    layers: PositiveInt = 3
    """Layers of the small model."""
    heads: PositiveInt = 4
    """Attention heads of the small model."""
    kv_heads: PositiveInt = 2
    """Key-value heads of the small model (grouped-query attention)."""
    ffn: PositiveInt = 384
    """Width of the small model's feed-forward layers."""
    vocabulary: PositiveInt = 2000
    """Text tokens of the small model: the size of the byte-level BPE trained on the catalogue's titles."""
    first_layers: NonNegativeInt = 0
    """Of a checkpoint its first so many layers alone (0: all): less of everything, where the last ones add little."""
    text_tokens: NonNegativeInt = 0
    """Tokens of an item's title and text that stand before its semantic ID in a prompt, at most (0: the ID alone)."""
    lora_rank: NonNegativeInt = 0
    """Rank of the LoRA adapters, which train beside the rows of new tokens; 0 trains every weight."""
    max_dislikes: PositiveInt = 20
    """Newest dislikes of a history that a prompt shows."""
    max_positives: NonNegativeInt = 20
    """Newest positives of a history that a prompt shows."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the model calculates in (`auto`: bfloat16 on a GPU that has it); weights that train are float32 always."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    accumulate: PositiveInt = 1
    """Parts of a step that go through the model one after the other: less memory, the same gradient."""
    sharded: bool = False
    """Spread the layers over the processes that train (FSDP2), for a model that does not fit one device."""

    def __post_init__(self) -> None:
        if self.first_layers and not self.checkpoint:
            raise ValueError(f"first_layers = {self.first_layers} is of a checkpoint; of the small model set layers")
        if not self.checkpoint and (self.hidden % (2 * self.heads) or self.heads % self.kv_heads):
            raise ValueError(
                f"hidden = {self.hidden}, heads = {self.heads}, kv_heads = {self.kv_heads}; "
                "hidden must be a multiple of twice the heads, and heads of kv_heads"
            )


@dataclass(frozen=True)
class UnderstandConfig:
    """Training that teaches the model the semantic IDs: translation, then item-level alignment."""

    translation_epochs: NonNegativeFloat = 2.0
    """Passes over the catalogue, from title to semantic ID and back."""
    alignment_epochs: NonNegativeFloat = 1.0
    """Passes over the questions "which of these was disliked?"."""
    alignment_samples: PositiveInt = 20000
    """Questions at most."""
    alignment_min_repeats: PositiveInt = 2
    """A dislike is sure, and may be asked about, when the user disliked so many items under the same first code."""
    alignment_held_out: Fraction = 0.1
    """Share of the questions that measures instead of training."""
    row_tokens: PositiveInt = 1024
    """Length of a packed row in tokens."""
    rows_per_step: PositiveInt = 4
    """Packed rows in a step of the optimiser."""
    learning_rate: PositiveFloat = 1e-3
    """Step size of the optimiser."""
    checkpoint_every: PositiveInt = 100
    """Steps between two checkpoints, from which a stopped training goes on."""


@dataclass(frozen=True)
class GrpoStage:
    """One stage of the curriculum."""

    context: Literal["recent", "dislikes", "full"] = "full"
    """What a prompt shows: dislikes of the last three days; all dislikes; dislikes and positives."""
    prompts: PositiveInt = 2000
    """Prompts that the stage trains on."""
    beta: NonNegativeFloat = 0.02
    """Weight of the KL divergence to the reference, which is the policy as the stage found it."""


Curriculum = Annotated[tuple[GrpoStage, ...], Meta(min_length=1)]


@dataclass(frozen=True)
class UtilizeConfig:
    """Training that teaches the model what users will dislike: warm-up, then GRPO in stages."""

    warmup_context: Literal["recent", "dislikes", "full", "mixed"] = "full"
    """What a prompt of the warm-up shows, as in `stages`; `mixed` shows every instance in all three contexts."""
    warmup_targets: Literal["next", "future"] = "next"
    """What a prompt of the warm-up is answered by: the next dislike, or each one within the horizon."""
    history_dropout: Fraction = 0.0
    """Probability that an event of a history is left out, whenever the warm-up uses its prompt (augmentation)."""
    warmup_epochs: NonNegativeFloat = 2.0
    """Passes over the training instances."""
    warmup_batch: PositiveInt = 32
    """Prompts in a step of the warm-up."""
    warmup_learning_rate: PositiveFloat = 1e-3
    """Step size of the optimiser in the warm-up."""
    num_generations: Annotated[int, Meta(ge=2)] = 16
    """Answers drawn for a prompt (the group's size, G)."""
    prompts_per_step: PositiveInt = 16
    """Prompts in a rollout."""
    num_iterations: PositiveInt = 2
    """Steps of the optimiser on one rollout."""
    epsilon: PositiveFloat = 0.2
    """Clipping range of the probability ratio."""
    gamma: NonNegativeFloat = 0.5
    """Weight of the future positives in the reward (equation 6)."""
    hit_bonus: NonNegativeFloat = 0.0
    """Added to the reward of an answer that is exactly one of the future dislikes (0: the paper's reward)."""
    demonstrations: NonNegativeInt = 0
    """Answers of a group that are not drawn, at most: they are dislikes that the user really went on to voice (0: the
    paper's groups). Lets the exact hit earn an advantage in every group."""
    swing_neighbours: NonNegativeInt = 5
    """Swing neighbours of each future dislike that count as right, too (0: none)."""
    learning_rate: PositiveFloat = 1e-4
    """Step size of the optimiser in GRPO."""
    stages: Curriculum = (GrpoStage("recent"), GrpoStage("dislikes"), GrpoStage("full"))
    """The curriculum, in this order."""
    checkpoint_every: PositiveInt = 25
    """Steps between two checkpoints, from which a stopped training goes on."""
    validation_users: PositiveInt = 256
    """Validation instances that the training curves look at."""

    def __post_init__(self) -> None:
        if self.demonstrations >= self.num_generations:
            drawn = f"some of the group's {self.num_generations} answers must be drawn"
            raise ValueError(f"demonstrations = {self.demonstrations}; {drawn}")


POLICY_TEMPERATURES = (4.0, 1.0)
"""`predict.temperatures` to choose from where the policy is asked."""


@dataclass(frozen=True)
class PredictConfig:
    """Constrained beam search, and the item features that are weighed beside the policy (docs/decoding.md)."""

    k: PositiveInt = 20
    """Items that are predicted for a user."""
    beams: PositiveInt = 100
    """Width of the beam search; its best `k` items are kept."""
    batch: PositiveInt = 32
    """Users that are decoded together."""
    features: tuple[Feature, ...] = tuple(name for name in get_args(Feature) if name != "sequence")
    """Item features beside the prior; how much each counts is learned on backtest windows."""
    long_tail_cost: NonNegativeFloat = 0.005
    """FHR that lists may lose on backtest windows for what is added to the log-weights of long-tail items."""
    prior: bool = True
    """Whether the item prior takes part, in training and in prediction: how often everybody disliked the item lately.
    Without other features it counts once."""
    prior_days: PositiveFloat = 14.0
    """Time constant of the item prior in days: how fast an old dislike stops counting."""
    prior_smoothing: PositiveFloat = 0.05
    """Dislikes added to every item of the candidate pool, so that none is impossible."""
    temperatures: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=1)] = (math.inf,)
    """Temperatures of the policy: the higher, the less it counts beside the features; `inf` leaves it out. `[inf]`
    alone: no policy is trained. Where `inf` is one of several, the policy joins only if it is significantly better on
    validation; else the best there is taken."""

    def __post_init__(self) -> None:
        if not (self.features or self.prior or self.asks_policy):
            raise ValueError("temperatures = [inf], without prior and features: nothing is left to predict by")

    @property
    def asks_policy(self) -> bool:
        """Whether a policy may take part."""
        return min(self.temperatures) < math.inf


@dataclass(frozen=True)
class FilterConfig:
    """Which ranked candidates are dropped."""

    threshold: Number | None = None
    """Drop a candidate that scores above this; where it is not given, `likes_lost` chooses it on validation."""
    likes_lost: Annotated[float, Meta(gt=0, lt=1)] = 0.02
    """Share of the likes that the filter may drop where it chooses the threshold."""


@dataclass(frozen=True)
class EvaluateConfig:
    """The protocol's numbers."""

    k: PositiveInt = 20
    """Length of the lists in which a hit is looked for (the 20 of HR@20)."""
    bootstrap: PositiveInt = 1000
    """Resamples of users behind every interval."""


@dataclass(frozen=True)
class Recipe:
    """Everything a run needs to know, apart from where the data lies and where the results go."""

    name: str = "demo"
    """What reports call the run."""
    seeds: tuple[NonNegativeInt, ...] = (0,)
    """Seeds of training; everything after `compress` is done once for each."""
    salt_file: str = ""
    """A file with a salt: users have pseudonyms in place of their ids (docs/data.md); empty: the ids as they are."""
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
    """Read a recipe; ConrecError names the file and the key that is unknown, of a wrong type, or out of range."""
    if not path.is_file():
        raise ConrecError(f"{path}: there is no such recipe; see the folder recipes/ for some")
    return read_toml(path, Recipe)


def with_settings(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with the settings of a second file over its own, key by key; ConrecError as in `load_recipe`."""
    load_recipe(path)  # so that its faults are told as its own
    settings = msgspec.to_builtins(recipe)
    for name, value in read_table(path).items():
        settings[name] = {**settings[name], **value} if isinstance(value, dict) else value
    return typed(f"{path} over {recipe.name}", settings, Recipe)
