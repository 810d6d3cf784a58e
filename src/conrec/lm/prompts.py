"""Every prompt in one place: what the model reads and what it is to answer.

A prompt is a list of token ids. Wording is text of our own, titles are data (see `vocabulary`), items are their
semantic IDs. The same wording serves the embedded model and a large checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from conrec.data.instances import Instances, Ragged
from conrec.lm.vocabulary import Vocabulary

Context = Literal["recent", "dislikes", "full"]

WORDING = {
    "sid_to_title": ("Item ", "\nTitle: "),
    "title_to_sid": ("Title: ", "\nItem "),
    "alignment": ("One disliked, three bought: ", "\nDisliked: "),
    "history": "History:",
    "recent": "Lately:",
    "liked": "+",
    "disliked": "-",
}
MAX_TITLE_TOKENS = 48


@dataclass(frozen=True)
class Sample:
    """One supervised sample: the loss is on `answer` only."""

    prompt: list[int]
    answer: list[int]


def wording_texts() -> list[str]:
    """All the wording, for the embedded tokenizer to learn from."""
    return [part for value in WORDING.values() for part in ((value,) if isinstance(value, str) else value)]


def sid_to_title(vocabulary: Vocabulary, codes: np.ndarray, title: str) -> Sample:
    """Translation: semantic ID -> title."""
    before, after = WORDING["sid_to_title"]
    prompt = vocabulary.text(before) + vocabulary.sid(codes) + vocabulary.text(after)
    return Sample(prompt, [*vocabulary.text(title)[:MAX_TITLE_TOKENS], vocabulary.end])


def title_to_sid(vocabulary: Vocabulary, codes: np.ndarray, title: str) -> Sample:
    """Translation: title -> semantic ID."""
    before, after = WORDING["title_to_sid"]
    text = vocabulary.text(title)[:MAX_TITLE_TOKENS]
    return Sample(vocabulary.text(before) + text + vocabulary.text(after), vocabulary.sid(codes))


def alignment(vocabulary: Vocabulary, candidates: np.ndarray, answer: int) -> Sample:
    """Item-level alignment: four semantic IDs, int [4, levels]; which one was disliked (paper, section 3)."""
    before, after = WORDING["alignment"]
    prompt = vocabulary.text(before) + vocabulary.sid(candidates) + vocabulary.text(after)
    return Sample(prompt, vocabulary.sid(candidates[answer]))


class HistoryPrompts:
    """Prompts of instances: the history in one of the curriculum's three contexts.

    What a user liked (+) and disliked (-) stands in the order of time, each item as its sign and its semantic ID; the
    prompt ends with the sign of a dislike, so the answer is the item disliked next. One format serves a history as
    running text (`understand.histories`) and as a question.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        codes: np.ndarray,
        *,
        max_dislikes: int,
        max_positives: int,
        recent_days: float,
    ) -> None:
        """`codes`: int [items, levels], the semantic ID of every item row."""
        text = {name: vocabulary.text(value) for name, value in WORDING.items() if isinstance(value, str)}
        sids = codes.astype(np.int64) + np.asarray(vocabulary.starts)
        self._events = {
            sign: np.concatenate([np.tile(text[sign], (len(sids), 1)).astype(np.int64), sids], axis=1)
            for sign in ("liked", "disliked")
        }
        self._text = text
        self._max_dislikes = max_dislikes
        self._max_positives = max_positives
        self._recent = np.timedelta64(round(recent_days * 24), "h")

    def running(self, rows: np.ndarray, disliked: np.ndarray, start: str = "history") -> list[int]:
        """Token ids of a history: item rows in the order of time, bool whether each was disliked."""
        events = np.where(disliked[:, None], self._events["disliked"][rows], self._events["liked"][rows])
        return self._text[start] + events.reshape(-1).tolist()

    def of(self, instances: Instances, n: int, context: Context, keep: np.ndarray | None = None) -> list[int]:
        """Token ids of instance n's prompt.

        `keep`: bool over the instance's dislikes followed by its positives, for augmentation by leaving out.
        """
        dislikes, positives = instances.dislikes[n], instances.positives[n]
        when_disliked, when_liked = instances.dislike_times[n], instances.positive_times[n]
        if keep is not None:
            first, second = keep[: len(dislikes)], keep[len(dislikes) :]
            dislikes, when_disliked = dislikes[first], when_disliked[first]
            positives, when_liked = positives[second], when_liked[second]
        if context == "recent":
            late = when_disliked >= instances.cuts[n] - self._recent
            dislikes, when_disliked = dislikes[late], when_disliked[late]
        dislikes, when_disliked = dislikes[-self._max_dislikes :], when_disliked[-self._max_dislikes :]
        first_shown = max(0, len(positives) - self._max_positives) if context == "full" else len(positives)
        positives, when_liked = positives[first_shown:], when_liked[first_shown:]
        order = np.argsort(np.concatenate([when_disliked, when_liked]), kind="stable")
        disliked = np.arange(len(order)) < len(dislikes)
        rows = np.concatenate([dislikes, positives])[order]
        start = "recent" if context == "recent" else "history"
        return self.running(rows, disliked[order], start) + self._text["disliked"]

    def thinned(
        self, instances: Instances, n: int, context: Context, share: float, rng: np.random.Generator
    ) -> list[int]:
        """Instance n's prompt with each event of the history left out with probability `share` (augmentation)."""
        events = len(instances.dislikes[n]) + len(instances.positives[n])
        return self.of(instances, n, context, rng.random(events) >= share)

    def all(self, instances: Instances, context: Context) -> Ragged:
        """Prompts of all instances as ragged token ids, int64."""
        return Ragged.of([self.of(instances, n, context) for n in range(len(instances))], np.int64)
