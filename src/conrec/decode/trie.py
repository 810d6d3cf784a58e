"""The candidate pool as a trie over semantic IDs, with the item prior summed up its levels (docs/engine.md).

The catalogue's semantic IDs are sorted once into CSR arrays: at each level, the children of a node are consecutive. A
node's *weight* on a day is the sum of the weights of the items below it, and a node of weight zero does not exist then.

Shapes: n items, T levels, R rows (days), N queries, K codes of a level.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from conrec.errors import ConrecError


@dataclass(frozen=True)
class Trie:
    """The tree of all semantic IDs, as CSR arrays per level.

    Node 0 of level 0 is the root; a node of level T is a complete semantic ID (a leaf).
    """

    sizes: tuple[int, ...]
    first_child: tuple[Tensor, ...]
    """[nodes of level t + 1]: children of node m are the nodes first_child[m] .. first_child[m + 1] of level t + 1."""
    code: tuple[Tensor, ...]
    """[children at level t]: the code on the edge into each node of level t + 1."""
    leaf_of_item: Tensor
    """int64 [n]: the leaf of each item; several items may share one."""
    item_order: Tensor
    """int64 [n]: item rows grouped by leaf."""
    leaf_start: Tensor
    """int64 [leaves + 1] into `item_order`."""

    @classmethod
    def of(cls, codes: np.ndarray, sizes: tuple[int, ...], device: torch.device | str = "cpu") -> "Trie":
        """Build the trie from the semantic IDs of all items, int [n, T] with code t in [0, sizes[t]).

        Raises ConrecError for other shapes or codes.
        """
        if codes.ndim != 2 or codes.shape[1] != len(sizes) or len(codes) == 0:
            raise ConrecError(f"semantic IDs must be [items, {len(sizes)}] and not empty, got {codes.shape}")
        if (codes < 0).any() or (codes >= np.asarray(sizes)).any():
            raise ConrecError("a semantic ID has a code outside its codebook")
        codes = codes.astype(np.int64)
        order = np.lexsort(codes.T[::-1])
        ordered = codes[order]
        new = np.ones((len(order), len(sizes)), dtype=bool)
        new[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
        node = np.cumsum(new, axis=0) - 1
        first_child, code = [], []
        parent = np.zeros(len(order), dtype=np.int64)
        for t in range(len(sizes)):
            heads = new[:, t]
            parents = int(parent[-1]) + 1
            counts = np.bincount(parent[heads], minlength=parents)
            first_child.append(torch.as_tensor(np.concatenate([[0], np.cumsum(counts)]), device=device))
            code.append(torch.as_tensor(ordered[heads, t], device=device))
            parent = node[:, t]
        leaf_of_item = np.empty(len(order), dtype=np.int64)
        leaf_of_item[order] = parent
        starts = np.concatenate([[0], np.cumsum(np.bincount(parent))])
        of_items = (torch.as_tensor(part, device=device) for part in (leaf_of_item, order.astype(np.int64), starts))
        return cls(tuple(sizes), tuple(first_child), tuple(code), *of_items)

    @property
    def leaves(self) -> int:
        return len(self.leaf_start) - 1

    def weigh(self, weights: np.ndarray | Tensor, *, prior: bool = True) -> "CandidatePool":
        """Put item weights [R, n] (zero: not in the pool) on the trie: a constraint for decoding and training.

        Without `prior` only membership counts, and every allowed code has log-prior 0. Raises ConrecError for weights
        that are negative, not finite, or all zero in a row.
        """
        device = self.leaf_of_item.device
        w = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=device)
        if w.ndim != 2 or w.shape[1] != len(self.leaf_of_item) or not bool(torch.isfinite(w).all()) or (w < 0).any():
            raise ConrecError(f"item weights must be finite, not negative and [rows, items], got {tuple(w.shape)}")
        if not bool((w.sum(1) > 0).all()):
            raise ConrecError("on some day no item is in the candidate pool: the log begins too late for this cutoff")
        mass = w.new_zeros(w.shape[0], self.leaves).index_add_(1, self.leaf_of_item, w)
        log_prior = []
        for t in range(len(self.sizes) - 1, -1, -1):
            parents = self.parents(t)
            above = w.new_zeros(w.shape[0], len(self.first_child[t]) - 1).index_add_(1, parents, mass)
            share = (mass / above[:, parents]).nan_to_num(0.0) if prior else (mass > 0).double()
            log_prior.append(share.log().float())
            mass = above
        return CandidatePool(self, w.float(), tuple(reversed(log_prior)), prior)

    def parents(self, level: int) -> Tensor:
        """int64 [nodes of level + 1]: for each node its parent on level `level`."""
        pointer = self.first_child[level]
        number = torch.arange(len(pointer) - 1, device=pointer.device)
        return torch.repeat_interleave(number, pointer[1:] - pointer[:-1])


@dataclass(frozen=True)
class CandidatePool:
    """A trie with the item weights of R days: what `lm.policy.Constraint` asks for."""

    trie: Trie
    item_weight: Tensor
    """float32 [R, n]."""
    log_prior: tuple[Tensor, ...]
    """float32 [R, nodes of level t + 1] per level t: log of a node's share of its parent's weight."""
    with_prior: bool = True
    """Whether the weights count as a prior, and not only as membership."""

    def log_prior_of(self, level: int, nodes: Tensor, rows: Tensor) -> Tensor:
        """float32 [N, K]: log-prior of each code below `nodes`; -inf where no item of the pool is."""
        pointer = self.trie.first_child[level]
        nodes = nodes.clamp(0, len(pointer) - 2)
        start = pointer[nodes]
        count = pointer[nodes + 1] - start
        query = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), count)
        within = torch.arange(len(query), device=nodes.device) - (count.cumsum(0) - count)[query]
        child = start[query] + within
        out = torch.full((len(nodes), self.trie.sizes[level]), -torch.inf, device=nodes.device)
        out[query, self.trie.code[level][child]] = self.log_prior[level][rows[query], child]
        return out

    def child(self, level: int, nodes: Tensor, codes: Tensor) -> Tensor:
        """int64 [N]: the node of the next level along `codes`; an arbitrary one where there is none."""
        pointer = self.trie.first_child[level]
        # Children are stored in the order of (parent, code), so these keys are sorted.
        key = self.trie.parents(level) * self.trie.sizes[level] + self.trie.code[level]
        wanted = nodes.clamp(0, len(pointer) - 2) * self.trie.sizes[level] + codes
        return torch.searchsorted(key, wanted).clamp_max(len(key) - 1)
