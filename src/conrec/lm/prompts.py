"""Every prompt in one place: what the model reads and what it is to answer.

A prompt is a list of token ids. Wording is text of our own, titles are data (see `vocabulary`), items are their
semantic IDs, with `lm.text_tokens` behind what they say. The same wording serves the embedded model and a large
checkpoint.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import numpy as np

from conrec.data.instances import Instances, Ragged
from conrec.lm.vocabulary import Vocabulary
from conrec.parallel import Memo

Context = Literal["recent", "dislikes", "full"]

WORDING = tomllib.loads((files(__package__) / "wording.toml").read_text("utf-8"))
MAX_TITLE_TOKENS = 48
RECENT = np.timedelta64(3, "D")
"""Time before a cutoff whose dislikes the context `recent` shows."""


@dataclass(frozen=True)
class Sample:
    """One supervised sample: the loss is on `answer` only."""

    prompt: list[int]
    answer: list[int]


def wording_texts() -> list[str]:
    """All the wording, for the embedded tokenizer to learn from."""
    return [part for value in WORDING.values() for part in ((value,) if isinstance(value, str) else value)]


def translation(vocabulary: Vocabulary, codes: np.ndarray, titles: list[str]) -> list[Sample]:
    """Two samples an item, codes int [n, levels]: from its ID to its title, and back (paper, section 3)."""
    (item, its_title), (named, its_item) = (map(vocabulary.text, WORDING[n]) for n in ("sid_to_title", "title_to_sid"))
    samples = []
    for sid, title in zip(map(vocabulary.sid, codes), titles):
        text = vocabulary.text(title)[:MAX_TITLE_TOKENS]
        samples.append(Sample([*item, *sid, *its_title], [*text, vocabulary.end]))
        samples.append(Sample([*named, *text, *its_item], sid))
    return samples


class ItemTokens:
    """How items stand in prompts: their semantic IDs, each behind the beginning of what the item says, if wanted."""

    def __init__(
        self, vocabulary: Vocabulary, codes: np.ndarray, says: Callable[[int], str] | None = None, text_tokens: int = 0
    ) -> None:
        """codes: int [items, levels]; says: the text of a row, of which so many tokens are read at most."""
        self.vocabulary = vocabulary
        self.codes = codes
        self._sids = codes.astype(np.int64) + np.asarray(vocabulary.starts)
        self._text = None
        if says is not None and text_tokens:
            # No token has more than some twenty letters: of a long text the rest is not looked at.
            self._text = Memo(lambda row: vocabulary.text(says(row)[: 20 * text_tokens])[:text_tokens])

    def of(self, rows: np.ndarray) -> list[int]:
        """Tokens of some items (int [n], rows), one after the other."""
        if self._text is None:
            return self._sids[rows].reshape(-1).tolist()
        return [token for row in rows.tolist() for token in (*self._text[row], *self._sids[row].tolist())]


def alignment(items: ItemTokens, candidates: np.ndarray, answer: int) -> Sample:
    """Item-level alignment: four items, int [4], rows; which one was disliked (paper, section 3)."""
    before, after = map(items.vocabulary.text, WORDING["alignment"])
    return Sample([*before, *items.of(candidates), *after], items.vocabulary.sid(items.codes[candidates[answer]]))


class HistoryPrompts:
    """Prompts of instances: the history in one of the curriculum's three contexts.

    Dislikes come first, positives last: of the positives the latest say most (what a user looks at now is what the
    platform shows next), and the latest then always stand at the same distance from the answer.
    """

    def __init__(self, items: ItemTokens, max_dislikes: int, max_positives: int) -> None:
        self._tokens = items
        self._text = {name: items.vocabulary.text(value) for name, value in WORDING.items() if isinstance(value, str)}
        self._max_dislikes = max_dislikes
        self._max_positives = max_positives

    def of(self, instances: Instances, n: int, context: Context, keep: np.ndarray | None = None) -> list[int]:
        """Token ids of instance n's prompt.

        `keep`: bool over the instance's dislikes followed by its positives, for history dropout.
        """
        dislikes, positives = instances.dislikes[n], instances.positives[n]
        keep = np.ones(len(dislikes) + len(positives), bool) if keep is None else keep
        kept, positives = keep[: len(dislikes)], positives[keep[len(dislikes) :]]
        if context == "recent":
            kept = kept & (instances.dislike_times[n] >= instances.cutoffs[n] - RECENT)
        dislikes = dislikes[kept]
        tokens = self._text["recent" if context == "recent" else "dislikes"]
        tokens = tokens + self._items(dislikes[-self._max_dislikes :])
        if context == "full":
            tokens += self._text["positives"] + self._items(positives[-self._max_positives :])
        return tokens + self._text["next"]

    def with_dropout(
        self, instances: Instances, n: int, context: Context, rate: float, rng: np.random.Generator
    ) -> list[int]:
        """Instance n's prompt with history dropout: each event is left out with probability `rate` (augmentation)."""
        events = len(instances.dislikes[n]) + len(instances.positives[n])
        return self.of(instances, n, context, rng.random(events) >= rate)

    def all(self, instances: Instances, context: Context) -> Ragged:
        """Prompts of all instances as ragged token ids, int64."""
        return Ragged.of([self.of(instances, n, context) for n in range(len(instances))], np.int64)

    def _items(self, rows: np.ndarray) -> list[int]:
        return self._tokens.of(rows) if len(rows) else self._text["nothing"]
