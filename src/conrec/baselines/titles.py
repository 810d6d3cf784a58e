"""Histories as titles: TALLRec and InstructRec score given candidates, LC-Rec trains on such histories.

Candidates stand behind one shared history: each sees the history and itself, none another one, so a set of twenty
costs little more than its own titles, and no score depends on where in the set a candidate stands. Titles are data
(`lm.vocabulary`): whatever one says, it is spelled out in ordinary tokens.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import torch
from peft import LoraConfig
from torch import Tensor

from conrec.baselines.base import SUFFIX, Recommender, Settings, TrainingData
from conrec.config import LmConfig
from conrec.data.distractors import draw_candidates
from conrec.data.instances import Instances, Ragged
from conrec.evaluate.metrics import candidate_accuracy
from conrec.features.sizes import Inputs
from conrec.lm.model import build_policy, load_trained_policy, load_trained_state, quiet_peft_model, trained_state
from conrec.lm.policy import Policy
from conrec.lm.prompts import MAX_TITLE_TOKENS, WORDING
from conrec.lm.training import Trainer, batches_from
from conrec.lm.vocabulary import Vocabulary
from conrec.progress import track

SEPARATOR = "; "
HELD_OUT = 0.1
"""Share of the training questions, the latest ones, on which the best epoch is chosen."""


class TitleHistories:
    """Histories as titles: dislikes, then positives, oldest first."""

    def __init__(self, vocabulary: Vocabulary, titles: Sequence[str], max_dislikes: int, max_positives: int) -> None:
        """`max_positives` 0 leaves the positives out."""
        separator = vocabulary.text(SEPARATOR)
        self.titles = [vocabulary.text(title)[:MAX_TITLE_TOKENS] for title in titles]
        self.next = vocabulary.text(WORDING["next"])
        self._separated = [[*title, *separator] for title in self.titles]
        self._parts = {name: vocabulary.text(WORDING[name]) for name in ("dislikes", "positives", "nothing")}
        self._max_dislikes, self._max_positives = max_dislikes, max_positives

    def of(self, instances: Instances, n: int) -> list[int]:
        """Token ids of instance n's history."""
        tokens = self._parts["dislikes"] + self._listed(instances.dislikes[n][-self._max_dislikes :])
        if self._max_positives:
            tokens = tokens + self._parts["positives"] + self._listed(instances.positives[n][-self._max_positives :])
        return tokens

    def listed(self, rows: Sequence[int]) -> list[int]:
        """Token ids of some titles, one after the other."""
        return [token for row in rows for token in self._separated[row]]

    def _listed(self, rows: np.ndarray) -> list[int]:
        return self.listed(rows.tolist()) if len(rows) else self._parts["nothing"]


@dataclass(frozen=True)
class Question:
    """A prompt and the options behind it, each a list of token ids."""

    prompt: list[int]
    options: list[list[int]]

    @property
    def length(self) -> int:
        """Length in tokens, all options together."""
        return len(self.prompt) + sum(map(len, self.options))


@dataclass(frozen=True)
class Answers:
    """Hidden states of the model at the options of some questions."""

    before: Tensor
    """[N, W, H]: hidden states before each option token (the first: at the end of the prompt)."""
    after: Tensor
    """[N, H]: hidden states at each option's last token."""
    tokens: Tensor
    """int64 [N, W]: the options' tokens, padded."""
    mask: Tensor
    """bool [N, W]."""


def ask(policy: Policy, questions: Sequence[Question], pad: int) -> Answers:
    """Answers of one pass over prompts and options: N options of all questions in their order, W the longest one."""
    shape = (len(questions), max(question.length for question in questions))
    ids, positions, owner = np.full(shape, pad), np.zeros(shape, np.int64), np.full(shape, -1)
    width = max(len(option) for q in questions for option in q.options)
    before, tokens, last = [], [], []
    for row, question in enumerate(questions):
        at = len(question.prompt)
        ids[row, :at], positions[row, :at], owner[row, :at] = question.prompt, np.arange(at), 0
        for number, option in enumerate(question.options, start=1):
            end = at + len(option)
            ids[row, at:end], owner[row, at:end] = option, number
            positions[row, at:end] = len(question.prompt) + np.arange(len(option))
            places = [len(question.prompt) - 1, *range(at, end - 1)]
            filled = width - len(option)
            before.append([row * shape[1] + place for place in places] + [0] * filled)
            tokens.append(option + [-1] * filled)
            last.append(row * shape[1] + end - 1)
            at = end
    device = policy.device
    owners, place = torch.as_tensor(owner, device=device), torch.as_tensor(positions, device=device)
    causal = torch.ones(shape[1], shape[1], dtype=torch.bool, device=device).tril()
    shared = (owners[:, None, :] == 0) | (owners[:, None, :] == owners[:, :, None])
    # Padding looks at itself only, so that no row of the mask is empty.
    allowed = (causal & shared & (owners >= 0)[:, :, None]) | torch.eye(shape[1], dtype=torch.bool, device=device)
    hidden = policy.hidden_states(torch.as_tensor(ids, device=device), allowed, place).flatten(0, 1)
    answer, preceding, final = (torch.as_tensor(np.asarray(part), device=device) for part in (tokens, before, last))
    return Answers(hidden[preceding], hidden[final], answer.clamp_min(0), answer >= 0)


class TitleRanker(Recommender):
    """A language model tuned on candidate sets of the training period, drawn as the protocol draws its own.

    The model is what the understand stage left: folder `understood` (tokenizer and weights) under the recipe's
    `lm`. With `lora_rank` it learns by LoRA (a model that the recipe already trains by LoRA keeps its own), without
    in all its weights.
    """

    needs = ("lm", "understood")
    quick: ClassVar[Settings] = {"epochs": 1, "samples": 40}
    requires = ("catalog",)
    adds_prior = False
    candidates_only = True
    distractors: int
    """Items of each training question beside the true next dislike."""
    accuracy: float
    """CandAcc of the epoch kept, on the questions held out; -1 where there were too few."""

    def __init__(
        self,
        inputs: Inputs = "dislikes",
        *,
        lm: LmConfig,
        understood: Path,
        samples: int = 6000,
        epochs: int = 3,
        batch: int = 16,
        learning_rate: float = 2e-3,
        lora_rank: int = 8,
        seed: int = 0,
    ) -> None:
        """`samples`: training questions at most."""
        self.name += SUFFIX[inputs]
        self.lm, self.understood, self.positives = lm, understood, inputs == "dislikes+likes"
        self.samples, self.epochs, self.batch, self.learning_rate = samples, epochs, batch, learning_rate
        self.lora_rank, self.seed = lora_rank, seed

    @abstractmethod
    def question(self, instances: Instances, n: int, rows: list[int]) -> Question:
        """Question about instance n and the items `rows`: one option an item, in that order."""

    @abstractmethod
    def option_scores(self, policy: Policy, answers: Answers) -> Tensor:
        """float [N], higher: rather the next dislike."""

    @abstractmethod
    def loss(self, policy: Policy, questions: list[Question]) -> Tensor:
        """Scalar loss of questions whose first option is the true one."""

    def fit(self, known: TrainingData) -> None:
        super().fit(known)
        assert known.catalog is not None
        self.vocabulary = Vocabulary.load(self.understood / "tokenizer")
        positives = self.lm.max_positives if self.positives else 0
        self.histories = TitleHistories(self.vocabulary, known.items.titles, self.lm.max_dislikes, positives)
        policy = build_policy(self.lm, self.vocabulary, known.catalog.codewords, self.seed)
        load_trained_policy(policy, self.understood)
        if self.lora_rank and not self.lm.lora_rank:
            with torch.random.fork_rng():
                torch.manual_seed(self.seed)
                lora = LoraConfig(r=self.lora_rank, lora_alpha=2 * self.lora_rank, target_modules="all-linear")
                policy.lm = quiet_peft_model(policy.lm, lora)
        self.policy = policy.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        instances, candidates = training_candidates(known, self.samples, 1 + self.distractors, self.seed)
        with TemporaryDirectory() as scratch, torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self._train(instances, candidates, Path(scratch) / self.name)
        self.policy.eval()

    def _train(self, instances: Instances, candidates: np.ndarray, folder: Path) -> None:
        """The latest instances are not learned from: they say which epoch's weights are kept."""
        late = np.argsort(np.argsort(instances.cutoffs, kind="stable")) >= (1 - HELD_OUT) * len(instances)
        held_out, held_candidates = instances.take(late), candidates[late]
        instances, candidates = instances.take(~late), candidates[~late]
        questions = [self._about(instances, candidates, n) for n in range(len(instances))]
        lengths = np.array([question.length for question in questions])
        per_epoch = max(1, len(questions) // self.batch)
        trainer = Trainer(
            self.policy, folder, steps=self.epochs * per_epoch, learning_rate=self.learning_rate, checkpoint_every=1000
        )
        self.accuracy = -1.0
        chosen: dict[str, Tensor] | None = None

        def validate() -> dict[str, float]:
            nonlocal chosen
            scores = self.score_candidates(held_out, held_candidates)
            accuracy = float(candidate_accuracy(scores, held_out)[1].mean())
            if accuracy > self.accuracy:
                self.accuracy, chosen = accuracy, trained_state(self.policy)
            return {"CandAcc": accuracy}

        steps = trainer.loop(self.name, validate if len(held_out) else None, self.epochs)
        for _, index in zip(steps, batches_from(trainer.step, lengths, self.batch, self.seed)):
            self.policy.train()
            loss = self.loss(self.policy, [questions[n] for n in index])
            trainer.log({"loss": trainer.update([loss])})
        if chosen is not None:
            load_trained_state(self.policy, chosen)

    def _about(self, instances: Instances, candidates: np.ndarray, n: int) -> Question:
        return self.question(instances, int(n), candidates[n][candidates[n] >= 0].tolist())

    def validation_figures(self, k: int) -> Mapping[Any, float]:
        """CandAcc on the questions held out from training."""
        return {"CandAcc": self.accuracy}

    def recommend(self, instances: Instances, k: int) -> np.ndarray:
        """Nothing: int32 [B, k] of -1."""
        return np.full((len(instances), k), -1, np.int32)

    @torch.no_grad()
    def score_candidates(self, instances: Instances, candidates: np.ndarray) -> np.ndarray:
        """Scores of candidates by their titles (see `Recommender.score_candidates`)."""
        self.policy.eval()
        result = np.full(candidates.shape, -np.inf, np.float32)
        asked = np.flatnonzero((candidates >= 0).any(axis=1))
        lengths = instances.dislikes.lengths[asked] + self.positives * instances.positives.lengths[asked]
        asked = asked[np.argsort(lengths, kind="stable")]
        for begin in track(range(0, len(asked), 32), f"{self.name}: candidates"):
            part = asked[begin : begin + 32]
            questions = [self._about(instances, candidates, n) for n in part]
            scores = self.option_scores(self.policy, ask(self.policy, questions, self.vocabulary.pad))
            there = candidates[part] >= 0
            rows = np.full(there.shape, -np.inf, np.float32)
            rows[there] = scores.float().cpu().numpy()
            result[part] = rows
        return result


def training_candidates(known: TrainingData, samples: int, size: int, seed: int) -> tuple[Instances, np.ndarray]:
    """At most `samples` training instances and their candidates, int32 [n, size], the true next first, -1 for none.

    Drawn by the protocol's own rule (`data.distractors`) from the events that may be learned from; instances for
    which it finds no distractor are left out.
    """
    usable = np.flatnonzero(known.train.n_dislikes > 0)
    chosen = np.sort(np.random.default_rng(seed).permutation(usable)[:samples])
    part = known.train.take(chosen)
    known_items = Ragged.of([np.append(part.dislikes[n], part.positives[n]) for n in range(len(part))])
    excluded = partial(known.knowledge.excluded, include_unseen=True)
    numbers, drawn = draw_candidates(known.events, replace(part, seen=known_items), size, seed, excluded)
    candidates = np.full((len(drawn), size), -1, np.int32)
    candidates[drawn.owners, np.arange(len(drawn.values)) - drawn.offsets[drawn.owners]] = drawn.values
    return part.take(numbers), candidates
