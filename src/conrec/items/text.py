"""Titles to vectors without any download: TF-IDF of words and character n-grams, reduced by a truncated SVD."""

from __future__ import annotations

import json

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.extmath import randomized_svd

MAX_TERMS = 30_000


class TfidfEncoder:
    """Words and pairs of words, and character trigrams to 4-grams (which see through spelling and plurals)."""

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        self.dimensions = dimensions
        self.seed = seed
        self._vectorizers: list[TfidfVectorizer] = []
        self._components = np.zeros((0, 0), np.float32)

    def fit(self, texts: list[str]) -> None:
        """Learn terms, their weights and the reduction. Works for any text, also none worth a term."""
        self._vectorizers = []
        for kind in ("words", "characters"):
            # A term of one title links nothing; in a tiny catalogue all are rare, so keep them.
            vectorizer = _vectorizer(kind, min_df=2 if len(texts) >= 100 else 1)
            try:
                self._vectorizers.append(vectorizer.fit(texts))
            except ValueError:  # not one term in all the texts
                self._vectorizers.append(_restored(kind, ["\0"], np.ones(1)))
        matrix = self._tfidf(texts)
        width = max(1, min(self.dimensions, min(matrix.shape) - 1))
        _, _, self._components = randomized_svd(matrix, width, n_iter=5, random_state=self.seed)
        self._components = self._components.astype(np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """float32 [n, d]; zeros for a text without a known term."""
        return np.asarray(self._tfidf(texts) @ self._components.T, np.float32)

    def state(self) -> dict[str, np.ndarray]:
        """Terms as the bytes of a JSON list, their weights, and the reduction."""
        state = {"components": self._components}
        for kind, vectorizer in zip(("words", "characters"), self._vectorizers):
            terms = json.dumps(vectorizer.get_feature_names_out().tolist()).encode()
            state[f"{kind}.terms"] = np.frombuffer(terms, np.uint8)
            state[f"{kind}.idf"] = np.asarray(vectorizer.idf_, np.float64)
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """An earlier fit."""
        self._components = state["components"]
        self._vectorizers = [
            _restored(kind, json.loads(state[f"{kind}.terms"].tobytes()), state[f"{kind}.idf"])
            for kind in ("words", "characters")
        ]

    def _tfidf(self, texts: list[str]) -> csr_matrix:
        return hstack([vectorizer.transform(texts) for vectorizer in self._vectorizers]).tocsr()


def _vectorizer(kind: str, **more: object) -> TfidfVectorizer:
    if kind == "words":
        return TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, max_features=MAX_TERMS, **more
        )
    return TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), sublinear_tf=True, max_features=MAX_TERMS, **more)


def _restored(kind: str, terms: list[str], idf: np.ndarray) -> TfidfVectorizer:
    vectorizer = _vectorizer(kind, vocabulary={term: n for n, term in enumerate(terms)})
    vectorizer.idf_ = idf
    return vectorizer
