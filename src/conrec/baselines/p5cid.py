"""P5-CID: P5 (Geng et al. 2022, RecSys) with collaborative indexing (Hua et al. 2023, "How to Index Item IDs for
Recommendation Foundation Models", SIGIR-AP).

An item's ID is its path in a tree of clusters, so items that are disliked together share the beginning of their IDs. A
T5 reads a user token and the IDs of the history, an embedding of each item's number in the prompt says which tokens
belong together ("whole words"), and it spells the ID of the next item. It departs from both papers: docs/baselines.md.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import eigsh
from sklearn.cluster import KMeans

from conrec.baselines.encoder_decoder import T5Recommender
from conrec.data.instances import Events
from conrec.features.sizes import Inputs, Sizes


class P5Cid(T5Recommender):
    """T5 over collaborative IDs; options as in `Generative`."""

    name = "p5_cid"
    sizes = Sizes(heads=4, dropout=0.1, epochs=4, learning_rate=3e-3)

    def __init__(self, inputs: Inputs = "dislikes", *, clusters: int = 20, leaf: int = 100, **options: Any) -> None:
        """`clusters`: parts that a part is split into; `leaf`: items that a part may have to be numbered."""
        super().__init__(inputs, **options)
        self.clusters, self.leaf = clusters, leaf

    def build(self, folder: Path) -> None:
        graph = dislike_graph(self.known.events, len(self.known.items))
        codes = collaborative_codes(graph, clusters=self.clusters, leaf=self.leaf, seed=self.seed)
        sizes = tuple(int(n) + 1 for n in codes.max(axis=0))
        self.build_t5(codes, sizes, whole_words=self.max_dislikes + self.max_positives + 1)


def dislike_graph(events: Events, items: int) -> csr_array:
    """Number of users who disliked both, float [items, items]; 0 on the diagonal."""
    dislikes = events.take(events.is_dislike)
    users = dislikes.owners()[1]
    pairs = np.unique(np.stack([users, dislikes.items], axis=1), axis=0)
    shape = (int(users.max(initial=-1)) + 1, items)
    table = csr_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    graph = csr_array(table.T @ table)
    graph.setdiag(0)
    graph.eliminate_zeros()
    return graph


def collaborative_codes(graph: csr_array, *, clusters: int, leaf: int, seed: int) -> np.ndarray:
    """IDs int32 [items, levels], all different: the parts down the tree from 1 on, 0 where there is none below, then
    the number within the last part."""
    paths: list[tuple[int, ...]] = [()] * graph.shape[0]
    numbers = np.zeros(graph.shape[0], np.int64)
    unfinished: list[tuple[np.ndarray, tuple[int, ...]]] = [(np.arange(graph.shape[0]), ())]
    while unfinished:
        rows, path = unfinished.pop()
        if len(rows) <= leaf:
            numbers[rows] = np.arange(len(rows))
            for row in rows.tolist():
                paths[row] = path
            continue
        labels = _split(graph[rows][:, rows], clusters, leaf, seed)
        unfinished += [(rows[labels == label], (*path, n)) for n, label in enumerate(np.unique(labels), start=1)]
    depth = max(len(path) for path in paths)
    filled = [(*path, *(0,) * (depth - len(path)), number) for path, number in zip(paths, numbers.tolist())]
    return np.asarray(filled, np.int32)


def _split(graph: csr_array, clusters: int, leaf: int, seed: int) -> np.ndarray:
    """Labels int [size] of spectral clustering (Ng, Jordan and Weiss 2001); nodes without an edge are a part of their
    own. Where the graph does not divide, equal runs."""
    size = graph.shape[0]
    degree = graph.sum(axis=1)
    joined = np.flatnonzero(degree > 0)
    labels = np.full(size, clusters)
    if len(joined) > clusters + 1:
        scale = diags_array(1 / np.sqrt(degree[joined]))
        rng = np.random.default_rng(seed)
        normalised = scale @ graph[joined][:, joined] @ scale
        # A space well beyond k, or Lanczos misses some of the equal eigenvalues that unconnected groups give.
        space = min(len(joined), 4 * clusters + 20)
        # Unconnected groups make it begin again with other vectors; without `rng` these are new ones at each call.
        start = rng.normal(size=len(joined))
        vectors = eigsh(normalised, k=clusters, which="LA", v0=start, ncv=space, rng=rng)[1]
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        labels[joined] = KMeans(clusters, n_init=3, random_state=seed).fit_predict(vectors)
    return labels if len(np.unique(labels)) > 1 else np.arange(size) // max(leaf, -(-size // clusters))
