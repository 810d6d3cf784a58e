"""What an item is like, read from what every shop has: its title, its picture and its category (docs/data.md).

- `trait`: the words of titles, and pairs of words that stand together ("polka dot"), of `FEWEST` items or more, less
  what given fields say already; synonyms are one (`items.synonyms`). What a title leaves out its picture may show. A
  ridge regression predicts every trait from pictures (leave-one-out), and a logistic function turns that into the
  probability s that the title says so. Of what titles say only the share c of, a silent one has it with probability
  (1 - c) / c * s / (1 - s) (learning from positives only, Elkan and Noto 2008), c the average of s where the title says
  so. Only a trait that pictures show is filled in: s higher by `SEEN` where titles say so than elsewhere (Tjur 2009).
- `look`: clusters of pictures (k-means, `LOOKS`), less what the category looks like; those that the same people dislike
  are one trait, called by the item in its middle ("like ID").
"""

import json
import re
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file
from scipy.sparse import csc_matrix, csr_matrix, diags, vstack
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from conrec.data.instances import Events
from conrec.data.schema import SEPARATOR
from conrec.files import readable
from conrec.items.encoders import Content
from conrec.items.image import HogEncoder
from conrec.items.synonyms import EXCLUSIVE, exclusion, same
from conrec.progress import track

FEWEST = 8
"""Known items whose titles hold a word, or a pair of words."""
COMMONEST = 0.5
"""A word of more titles than that tells nothing apart."""
MOST_WORDS = 2000
LIFT = 5.0
"""So much oftener than chance two words follow each other that they are one name."""
SAME_ITEMS = 0.8
"""A word and a value of a column share so many of the items that either has (Jaccard) that it is the same."""
LOOKS = 16
RIDGE = 0.3
"""Penalty, in the mean square length of the pictures' features."""
SEEN = 0.25
"""Least coefficient of discrimination of a trait that pictures show."""
SURE = 0.5
"""Probability from which on an item has a trait that its title leaves out."""
SHRINK = 2.0
"""A category's average picture counts as that of so many items fewer, which are average ones."""
FEWEST_PICTURES, MOST_PICTURES = 100, 20_000
"""Known pictures to learn from; a sample of the larger number tells as much as more."""
AT_ONCE = 2000
WORD = re.compile(r"\w+(?:[-'’]\w+)*")


class TraitEncoder:
    """Titles, categories and pictures to traits by name."""

    def __init__(self, hog: HogEncoder | None) -> None:
        """hog: what looks at the pictures, and may have done so before; None: they are not looked at."""
        self._hog = hog
        self._names: list[str] = []
        """Of the traits of titles."""
        self._terms: dict[str, int] = {}
        """Which trait a word or a pair of words stands for."""
        self._pairs: dict[str, int] = {}
        """How often two words that are one name stand together."""
        self._excluding = np.zeros((0, 0), bool)
        """[traits, traits]: an item has at most one of both."""
        self._categories: dict[str, int] = {}
        self._average = np.zeros((1, 0), np.float32)
        """Of pictures, one row a category, the last one for any other."""
        self._shown = np.zeros((0, 3))
        """For each trait of titles slope, intercept of the logistic function, c; 0 if pictures do not show it."""
        self._ridge = np.zeros((1, 0), np.float32)
        """[features + 1, traits]."""
        self._looks = np.zeros((0, 0), np.float32)
        """Centres of the clusters of pictures, [LOOKS, features]."""
        self._look_names: list[str] = []
        """Of each cluster; those that are one trait share theirs."""

    def fit(self, content: Content, ids: list[str], known: np.ndarray, log: Events) -> None:
        """content, ids: of all items. known: int [m], rows of those to learn from; log: the events to learn from."""
        categories = _categories(content)
        category = np.unique(categories, return_inverse=True)[1]
        scope = np.unique([SEPARATOR.split(name)[0] for name in categories], return_inverse=True)[1]
        stated = self._fit_titles(content, category, scope, known, log)
        if self._hog is None:
            return
        seen = np.array([row for row in known if content.pictures[row] is not None], np.int64)
        if len(seen) > MOST_PICTURES:
            seen = np.sort(np.random.default_rng(0).choice(seen, MOST_PICTURES, replace=False))
        raw, account = self._hog.raw([content.pictures[row] for row in seen])
        seen, raw = seen[account.used], raw[account.used]
        if len(seen) < FEWEST_PICTURES:
            return
        own = [categories[row] for row in seen]
        names, place, counts = np.unique(own, return_inverse=True, return_counts=True)
        self._categories = {str(name): n for n, name in enumerate(names)}
        everything, sums = raw.mean(axis=0), np.zeros((len(names), raw.shape[1]))
        np.add.at(sums, place, raw - everything)
        averages = everything + sums / (counts[:, None] + SHRINK)
        self._average = np.vstack([averages, everything]).astype(np.float32)
        x = self._centred(own, raw)
        self._fit_shown(x, stated[seen].tocsc())
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # fewer different pictures
            self._looks = KMeans(LOOKS, n_init=4, random_state=0).fit(x).cluster_centers_.astype(np.float32)
        distance = self._distance(x)
        nearest = distance.argmin(axis=1)
        cluster = csr_matrix((np.ones(len(seen)), (seen, nearest)), (len(content), len(self._looks)))
        self._look_names = [""] * len(self._looks)
        for group in same(cluster, category, scope, known, log):
            largest = max(group, key=lambda n: np.sum(nearest == n))
            middle = np.where(nearest == largest, distance[:, largest], np.inf).argmin()
            for n in group:
                self._look_names[n] = f"like {SEPARATOR.sub(' ', ids[seen[middle]])}"

    def encode(self, content: Content) -> list[dict[str, str]]:
        """The fields `trait` and `look` of each item (as `items.fields` reads them: several values apart by "|");
        what an item has nothing of is left out. An encoder that was not fitted finds nothing."""
        has, looks = self._stated(content.titles), [""] * len(content)
        if self._hog is not None and len(self._looks) and len(content):
            raw, account = self._hog.raw(content.pictures)
            x = self._centred(_categories(content), raw)
            nearest = self._distance(x).argmin(axis=1)
            looks = [self._look_names[n] if there else "" for n, there in zip(nearest, account.used)]
            slices = [slice(start, start + AT_ONCE) for start in range(0, len(x), AT_ONCE)]
            shown = [self._filled_in(x[some], has[some]) for some in track(slices, "traits that pictures show")]
            has = (has + diags(account.used * 1.0) @ vstack(shown)).tocsr()
        rows = [sorted(self._names[n] for n in own) for own in np.split(has.indices, has.indptr[1:-1])]
        items = [{"trait": "|".join(own), "look": look} for own, look in zip(rows, looks)]
        return [{name: value for name, value in item.items() if value} for item in items]

    def _filled_in(self, x: np.ndarray, stated: csr_matrix) -> csr_matrix:
        """[n, traits]: 1 for what pictures show and what is stated does not exclude."""
        slope, intercept, c = self._shown.T
        score = np.hstack([x, np.ones((len(x), 1))]) @ self._ridge
        odds = np.exp(np.clip(slope * score + intercept, -50, 50))
        likely = (c > 0) & ((1 - c) * odds >= SURE * c)
        return csr_matrix(likely & ~((stated @ self._excluding) > 0), dtype=float)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(getattr(self, f"_{name}")) for name in ARRAYS}
        names = json.dumps({name: getattr(self, f"_{name}") for name in NAMES}).encode()
        save_file(arrays | {"json": np.frombuffer(names, np.uint8)}, folder / SAVED)

    @classmethod
    def load(cls, folder: Path, hog: HogEncoder | None) -> Self:
        """What `save` wrote, where it wrote nothing an encoder that finds nothing; ConrecError if not readable."""
        encoder = cls(hog)
        if (folder / SAVED).exists():
            with readable(folder / SAVED, "the compress"):
                arrays = load_file(folder / SAVED)
                for name, value in (arrays | json.loads(arrays.pop("json").tobytes())).items():
                    setattr(encoder, f"_{name}", value)
        return encoder

    def _fit_titles(
        self, content: Content, category: np.ndarray, scope: np.ndarray, known: np.ndarray, log: Events
    ) -> csr_matrix:
        """The terms and which of them are the same trait; what titles state, [n, traits]."""
        titles = content.titles
        words = [WORD.findall(titles[row].lower()) for row in known]
        single = Counter(word for own in words for word in own)
        double = Counter(pair for own in words for pair in set(pairwise(own)))
        total = single.total()
        self._pairs = {
            f"{a} {b}": uses
            for (a, b), uses in double.items()
            if uses >= FEWEST and a != b and uses * total >= LIFT * single[a] * single[b]
        }
        uses = Counter(term for row in known for term in self._words(titles[row]))
        often = [term for term, n in uses.most_common() if FEWEST <= n <= COMMONEST * len(known)]
        self._terms = {term: n for n, term in enumerate(sorted(often[:MOST_WORDS]))}
        self._names = list(self._terms)
        stated = self._stated(titles)
        kept = np.flatnonzero(~_named_already(stated[known], [content.fields[row] for row in known]))
        groups = [kept[group] for group in same(stated[:, kept], category, scope, known, log)]
        self._terms = {self._names[term]: n for n, group in enumerate(groups) for term in group}
        self._names = [max((self._names[term] for term in group), key=lambda name: uses[name]) for group in groups]
        stated = self._stated(titles)
        self._excluding = exclusion(stated[known], category[known]) > EXCLUSIVE
        return stated

    def _words(self, title: str) -> set[str]:
        """The terms of a title: pairs that are one name, and the words that are in none."""
        words = WORD.findall(title.lower())
        pairs = [n for n, pair in enumerate(pairwise(words)) if " ".join(pair) in self._pairs]
        inside = {n + step for n in pairs for step in (0, 1)}
        return {" ".join(words[n : n + 2]) for n in pairs} | {w for n, w in enumerate(words) if n not in inside}

    def _stated(self, titles: list[str]) -> csr_matrix:
        """float64 [n, traits]: 1 for what a title says."""
        own = [sorted({self._terms[term] for term in self._words(title) if term in self._terms}) for title in titles]
        starts = np.cumsum([0, *map(len, own)])
        columns = np.fromiter((n for one in own for n in one), np.int64, starts[-1])
        return csr_matrix((np.ones(len(columns)), columns, starts), (len(titles), len(self._names)))

    def _fit_shown(self, x: np.ndarray, stated: csc_matrix) -> None:
        """How pictures show what titles state. x: float [m, features]; stated: [m, traits]."""
        a = np.hstack([x, np.ones((len(x), 1))]).astype(np.float64)
        penalty = np.full(a.shape[1], RIDGE * np.mean((x**2).sum(axis=1)) + 1e-9)
        penalty[-1] = 1e-6
        inverse = np.linalg.inv(a.T @ a + np.diag(penalty))
        self._ridge = (inverse @ (a.T @ stated)).astype(np.float32)
        leverage = ((a @ inverse) * a).sum(axis=1)
        self._shown = np.zeros((stated.shape[1], 3))
        for n in track(range(stated.shape[1]), "traits in pictures"):
            says = stated[:, [n]].toarray().ravel()
            if 0 < says.sum() < len(says):
                score = (a @ self._ridge[:, n] - leverage * says) / (1 - leverage)
                model = LogisticRegression(C=1e3).fit(score[:, None], says)
                s = model.predict_proba(score[:, None])[:, 1]
                c, otherwise = s[says > 0].mean(), s[says == 0].mean()
                if c - otherwise >= SEEN:
                    self._shown[n] = model.coef_.item(), model.intercept_.item(), c

    def _centred(self, categories: list[str], raw: np.ndarray) -> np.ndarray:
        """Pictures, less what their category looks like: float32 [n, features]."""
        return raw - self._average[[self._categories.get(name, -1) for name in categories]]

    def _distance(self, x: np.ndarray) -> np.ndarray:
        """float32 [n, LOOKS]: of each picture to each cluster, squared, less the same for all of a picture's."""
        return np.asarray((self._looks**2).sum(axis=1) - 2 * x @ self._looks.T)


def joined(fields: list[dict[str, str]], traits: list[dict[str, str]]) -> list[dict[str, str]]:
    """Given columns and traits of each item; a given column keeps its name and its values."""
    return [found | given for given, found in zip(fields, traits, strict=True)]


def write_traits(folder: Path, traits: list[dict[str, str]]) -> None:
    """A table of one column, a map from field to values, an item a row."""
    pq.write_table(pa.table([pa.array([list(own.items()) for own in traits], MAP)], names=["traits"]), folder / TABLE)


def read_traits(folder: Path, items: int) -> list[dict[str, str]]:
    """What `write_traits` wrote of so many items, nothing where it wrote nothing; ConrecError if it is not readable."""
    if not (folder / TABLE).exists():
        return [{} for _ in range(items)]
    with readable(folder / TABLE, "the compress"):
        found = [dict(own) for own in pq.read_table(folder / TABLE)["traits"].to_pylist()]
        if len(found) != items:
            raise ValueError(f"{len(found)} rows for {items} items")
    return found


TABLE, SAVED = "traits.parquet", "traits.safetensors"
MAP = pa.map_(pa.string(), pa.string())
ARRAYS = ("excluding", "average", "shown", "ridge", "looks")
NAMES = ("names", "terms", "pairs", "categories", "look_names")


def _categories(content: Content) -> list[str]:
    """The whole path of each item's category, "" for none."""
    return [fields.get("category", "") for fields in content.fields]


def _named_already(stated: csr_matrix, fields: list[dict[str, str]]) -> np.ndarray:
    """bool [terms]: the term is a value of a given field. stated: [m, terms]."""
    values = [[f"{name}={v}" for name, text in own.items() for v in {text, *SEPARATOR.split(text)}] for own in fields]
    given = DictVectorizer().fit_transform([dict.fromkeys(own, 1.0) for own in values])
    both = (given.T @ stated).tocoo()
    either = np.ravel(given.sum(axis=0))[both.row] + np.ravel(stated.sum(axis=0))[both.col] - both.data
    named = np.zeros(stated.shape[1], bool)
    named[both.col[both.data > SAME_ITEMS * either]] = True
    return named
