"""Demonstrations in a group: where they stand, that they change in turn, and that something drawn always stays."""

import numpy as np
import torch

from conrec.data.instances import Ragged
from conrec.decode.trie import Trie
from conrec.train.demonstrations import Demonstrations
from tests import tiny

CODES = tiny.codes(40)
TRIE = Trie.of(CODES, tiny.SIZES)


def mixed(dislikes: list[list[int]], index: list[int], at_most: int, group: int = 4):
    """Groups before and after; `dislikes` of each prompt of `index`."""
    leaves = torch.arange(len(index) * group).view(len(index), group)
    items = TRIE.item_order[TRIE.leaf_start[leaves]]
    codes = torch.as_tensor(CODES[items], dtype=torch.int64)
    before = codes.clone(), leaves.clone()
    by_prompt: list[list[int]] = [[] for _ in range(max(index) + 1)]
    for prompt, own in zip(index, dislikes):
        by_prompt[prompt] = own
    result = Demonstrations(Ragged.of(by_prompt), CODES, TRIE, at_most).mix_in(codes, leaves, np.array(index))
    assert torch.equal(codes, before[0])
    assert torch.equal(leaves, before[1])  # what was given is not written to
    return before, result


def test_demonstrations_take_the_first_places_and_the_rest_stays():
    (codes, leaves), (new_codes, new_leaves, which) = mixed([[7, 9], [3], []], [0, 2, 3], at_most=2)
    assert which.tolist() == [[True, True, False, False], [True, False, False, False], [False] * 4]
    np.testing.assert_array_equal(new_codes[which], CODES[[7, 9, 3]])
    assert TRIE.item_order[TRIE.leaf_start[new_leaves[which]]].tolist() == [7, 9, 3]
    assert torch.equal(new_codes[~which], codes[~which])
    assert torch.equal(new_leaves[~which], leaves[~which])


def test_a_prompt_that_comes_twice_is_shown_something_else():
    _, (codes, _, which) = mixed([[4, 5, 6]] * 4, [0, 1, 2, 3], at_most=1)
    np.testing.assert_array_equal(codes[which], CODES[[4, 5, 6, 4]])


def test_without_demonstrations_nothing_changes_and_with_much_one_drawn_answer_stays():
    (_, leaves), (_, new_leaves, which) = mixed([[4, 5, 6]], [0], at_most=0)
    assert torch.equal(new_leaves, leaves)
    assert not which.any()
    _, (_, _, which) = mixed([[1, 2, 3, 4, 5, 6]], [0], at_most=9)
    assert which.tolist() == [[True, True, True, False]]
