"""The trie against a plain dictionary."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.decode.trie import Trie
from conrec.errors import ConrecError

SIZES = (3, 4, 2)


@st.composite
def catalogues(draw):
    n = draw(st.integers(1, 30))
    codes = [[draw(st.integers(0, s - 1)) for s in SIZES] for _ in range(n)]
    weights = [draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])) for _ in range(n)]
    weights[draw(st.integers(0, n - 1))] = 2.0
    return np.array(codes), np.array(weights)


@settings(max_examples=60, deadline=None)
@given(catalogues())
def test_the_prior_of_a_code_is_its_share_of_the_items_below(catalogue):
    codes, weights = catalogue
    pool = Trie.of(codes, SIZES).weigh(weights[None])
    prefixes = {(): 0}
    above = {(): weights.sum()}
    for level in range(3):
        below = {}
        for prefix, node in prefixes.items():
            mass = pool.log_prior_of(level, torch.tensor([node]), torch.tensor([0]))[0]
            for code in range(SIZES[level]):
                match = (codes[:, : level + 1] == [*prefix, code]).all(1)
                total = weights[match].sum()
                if total == 0:
                    assert mass[code] == -torch.inf
                else:
                    assert mass[code].item() == pytest.approx(np.log(total / above[prefix]), abs=1e-5)
                    above[(*prefix, code)] = total
                    below[(*prefix, code)] = int(pool.child(level, torch.tensor([node]), torch.tensor([code])))
        prefixes = below
    for prefix, leaf in prefixes.items():
        items = pool.trie.item_order[pool.trie.leaf_start[leaf] : pool.trie.leaf_start[leaf + 1]].tolist()
        assert sorted(items) == np.flatnonzero((codes == prefix).all(1)).tolist()
        assert all(pool.trie.leaf_of_item[item] == leaf for item in items)


def test_each_day_has_its_own_offer():
    codes = np.array([[0, 0, 0], [0, 1, 0], [2, 0, 1]])
    pool = Trie.of(codes, SIZES).weigh(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 4.0]]))
    mass = pool.log_prior_of(0, torch.tensor([0, 0]), torch.tensor([0, 1]))
    assert torch.isfinite(mass).tolist() == [[True, False, False], [False, False, True]]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros((1, 2)), "no item is in the candidate pool"),
        (np.array([[1.0, np.nan]]), "finite"),
        (np.ones((1, 3)), "items"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ConrecError, match=message):
        Trie.of(np.array([[0, 0, 0], [1, 1, 1]]), SIZES).weigh(weights)


def test_a_code_outside_its_codebook_is_refused():
    with pytest.raises(ConrecError, match="outside its codebook"):
        Trie.of(np.array([[0, 4, 0]]), SIZES)
