"""Known answers in a group: where they stand, that they change in turn, and that something drawn always stays."""

import numpy as np
import torch

from conrec.data.instances import Ragged
from conrec.decode.trie import Trie
from conrec.train.guidance import guide
from tests import tiny

CODES = tiny.codes(40)
TRIE = Trie.of(CODES, tiny.SIZES)


def told(truth: list[list[int]], turn: list[int], at_most: int, group: int = 4):
    leaves = torch.arange(len(truth) * group).view(len(truth), group)
    items = TRIE.item_order[TRIE.leaf_start[leaves]]
    codes = torch.as_tensor(CODES[items], dtype=torch.int64)
    before = codes.clone(), leaves.clone()
    result = guide(codes, leaves, Ragged.of(truth), np.array(turn), CODES, TRIE, at_most)
    assert torch.equal(codes, before[0])
    assert torch.equal(leaves, before[1])  # what was given is not written to
    return before, result


def test_known_answers_take_the_first_places_and_the_rest_stays():
    (codes, leaves), (new_codes, new_leaves, which) = told([[7, 9], [3], []], [0, 0, 0], at_most=2)
    assert which.tolist() == [[True, True, False, False], [True, False, False, False], [False] * 4]
    np.testing.assert_array_equal(new_codes[which], CODES[[7, 9, 3]])
    assert TRIE.item_order[TRIE.leaf_start[new_leaves[which]]].tolist() == [7, 9, 3]
    assert torch.equal(new_codes[~which], codes[~which])
    assert torch.equal(new_leaves[~which], leaves[~which])


def test_a_prompt_that_returns_is_told_something_else():
    truth = [4, 5, 6]
    _, (codes, _, which) = told([truth] * 4, [0, 1, 2, 3], at_most=1)
    np.testing.assert_array_equal(codes[which], CODES[[4, 5, 6, 4]])


def test_without_guidance_nothing_changes_and_with_much_one_drawn_answer_stays():
    (_, leaves), (_, new_leaves, which) = told([[4, 5, 6]], [0], at_most=0)
    assert torch.equal(new_leaves, leaves)
    assert not which.any()
    _, (_, _, which) = told([[1, 2, 3, 4, 5, 6]], [0], at_most=9)
    assert which.tolist() == [[True, True, True, False]]
