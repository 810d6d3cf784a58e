"""Titles to vectors without any download: TF-IDF of words and character n-grams, reduced by a truncated SVD."""

import json

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.utils.extmath import randomized_svd

from conrec.data.instances import evenly

MAX_TERMS = 30_000
MOST, AT_ONCE = 200_000, 65_536
"""Texts to learn from, evenly taken, and texts that are encoded together: n-grams of all would take most memory."""
KINDS = ("words", "characters")


class TfidfEncoder:
    """Words and pairs of words, and character trigrams to 4-grams (which see through spelling and plurals)."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._vectorizers: list[tuple[CountVectorizer, TfidfTransformer]] = []
        self._components = np.zeros((0, 0), np.float32)
        self._fitted: tuple[list[str], csr_matrix] | None = None
        """The texts of `fit` and their matrix, until the first texts are encoded: most of them are the same."""

    def fit(self, texts: list[str]) -> None:
        """Learn terms, their weights and the reduction. Works for any text, also none worth a term."""
        texts = [texts[row] for row in evenly(np.arange(len(texts)), MOST)]
        self._vectorizers, parts = [], []
        for kind in KINDS:
            # A term of one title links nothing; in a tiny catalogue all are rare, so keep them.
            counter, weights = _vectorizer(kind, min_df=2 if len(texts) >= 100 else 1)
            try:
                counts = counter.fit_transform(texts)
                counts.sort_indices()
                weights.fit(counts)
            except ValueError:  # not one term in all the texts
                counter, weights = _vectorizer(kind, vocabulary={"\0": 0})
                counts, weights.idf_ = csr_matrix((len(texts), 1)), np.ones(1)
            self._vectorizers.append((counter, weights))
            parts.append(weights.transform(counts))
        matrix = hstack(parts).tocsr()
        width = max(1, min(self.dimensions, min(matrix.shape) - 1))
        self._components = randomized_svd(matrix, width, n_iter=5, random_state=0)[2].astype(np.float32)
        self._fitted = texts, matrix

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """float32 [n, d]; zeros for a text without a known term."""
        known, matrix = self._fitted or ([], csr_matrix((0, self._components.shape[1])))
        self._fitted = None
        rows = {text: row for row, text in enumerate(known)}
        new = [text for text in texts if text not in rows]
        place = iter(range(len(known), len(known) + len(new)))
        index = [rows[text] if text in rows else next(place) for text in texts]
        parts = (self._tfidf(new[start : start + AT_ONCE]) for start in range(0, len(new), AT_ONCE))
        return np.concatenate([np.asarray(one @ self._components.T, np.float32) for one in (matrix, *parts)])[index]

    def state(self) -> dict[str, np.ndarray]:
        """Terms as the bytes of a JSON list, their weights, and the reduction."""
        state = {"components": self._components}
        for kind, (counter, weights) in zip(KINDS, self._vectorizers):
            terms = json.dumps(counter.get_feature_names_out().tolist()).encode()
            state[f"{kind}.terms"] = np.frombuffer(terms, np.uint8)
            state[f"{kind}.idf"] = np.asarray(weights.idf_, np.float64)
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._components, self._fitted, self._vectorizers = state["components"], None, []
        for kind in KINDS:
            terms = json.loads(state[f"{kind}.terms"].tobytes())
            counter, weights = _vectorizer(kind, vocabulary={term: n for n, term in enumerate(terms)})
            weights.idf_ = state[f"{kind}.idf"]
            self._vectorizers.append((counter, weights))

    def _tfidf(self, texts: list[str]) -> csr_matrix:
        return hstack([weights.transform(counter.transform(texts)) for counter, weights in self._vectorizers]).tocsr()


def _vectorizer(kind: str, **more: object) -> tuple[CountVectorizer, TfidfTransformer]:
    more |= {"max_features": MAX_TERMS, "dtype": np.float64}
    if kind == "words":
        more |= {"ngram_range": (1, 2), "token_pattern": r"(?u)\b\w+\b"}
    else:
        more |= {"ngram_range": (3, 4), "analyzer": "char_wb"}
    return CountVectorizer(**more), TfidfTransformer(sublinear_tf=True)
