"""The encoder-decoder against transformers' own forward pass, and against itself in other company."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from conrec.baselines.encoder_decoder import EncoderDecoder, Words, build_encoder_decoder
from conrec.baselines.tiger import Tiger
from conrec.decode.beam import search
from conrec.decode.trie import Trie
from conrec.features.sizes import Inputs, Sizes
from tests.small_log import all_instances, small_log

WORDS = Words((5, 4, 3), users=7)
SIZES = Sizes(width=16, dropout=0.1)


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    return build_encoder_decoder(WORDS, SIZES, seed=0).eval()


@pytest.fixture(scope="module")
def prompts() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, len(WORDS), (3, 9), generator=generator)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[0, :4], ids[0, :4] = False, 0
    return ids, mask


def some_codes(prompts: int, answers: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.stack([torch.randint(0, s, (prompts, answers), generator=generator) for s in WORDS.sizes], -1)


@torch.no_grad()
def test_same_logits_as_the_library(model: EncoderDecoder, prompts: tuple[torch.Tensor, torch.Tensor]) -> None:
    ids, mask = prompts
    codes = some_codes(3, 6)
    first, rest = model.hidden_of_answers(ids, mask, codes)
    tokens = codes + torch.tensor(WORDS.starts)
    for n in range(6):
        inputs = torch.cat([torch.zeros(3, 1, dtype=torch.int64), tokens[:, n, :-1]], 1)
        theirs = model.lm(input_ids=ids, attention_mask=mask.long(), decoder_input_ids=inputs).logits
        ours = model.lm.lm_head(torch.cat([first[:, None], rest[:, n]], 1))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_search_agrees_with_scoring(model: EncoderDecoder, prompts: tuple[torch.Tensor, torch.Tensor]) -> None:
    ids, mask = prompts
    every = np.stack(np.meshgrid(*(np.arange(s) for s in WORDS.sizes), indexing="ij"), -1).reshape(-1, 3)
    codes = every[np.random.default_rng(0).permutation(len(every))[:40]]
    pool = Trie.of(codes, WORDS.sizes).weigh(np.random.default_rng(1).random((1, 40)) + 0.1)
    rows = torch.zeros(3, dtype=torch.int64)
    found = search(model, model.prefill(ids, mask), rows, pool, beams=60)
    scores = model(ids, mask, found.codes[:, :40], rows, pool).sum(-1)
    torch.testing.assert_close(scores, found.scores[:, :40], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.scores[:, :40].exp().sum(1), torch.ones(3), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_an_answer_grown_token_by_token_is_the_answer_read_at_once(prompts: tuple[torch.Tensor, torch.Tensor]) -> None:
    words = Words((4, 3, 5, 2, 3, 4))
    model = build_encoder_decoder(words, replace(SIZES, layers=3), seed=1).eval()
    ids, mask = prompts[0] % len(words), prompts[1]
    rng = torch.Generator().manual_seed(3)
    state = model.prefill(ids, mask)
    codes, places = torch.zeros(3, 1, 0, dtype=torch.int64), torch.zeros(3, 1, 0, dtype=torch.int64)
    for level, size in enumerate(words.sizes[:-1]):
        width = 7 - level
        parent = torch.randint(0, codes.shape[1], (3, width, 1), generator=rng).expand(-1, -1, level)
        codes, places = codes.gather(1, parent), places.gather(1, parent)
        new, own = torch.randint(0, size, (3, width), generator=rng), state.suffix + torch.arange(width)
        grown = model.extend(state, new, level, places)
        codes, places = (
            torch.cat([old, add[..., None]], 2) for old, add in ((codes, new), (places, own.expand(3, -1)))
        )
        at_once = model._decode(state, codes + torch.tensor(words.starts)[: level + 1])[:, :, -1]
        torch.testing.assert_close(grown, at_once, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_prompt_is_read_alike_in_any_company(prompts: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = build_encoder_decoder(WORDS, SIZES, seed=0, whole_words=6).eval()
    ids, mask = prompts
    alone = model.prefill(ids[:1, 4:], mask[:1, 4:])
    torch.testing.assert_close(model.prefill(ids, mask).hidden[:1], alone.hidden, atol=1e-5, rtol=1e-5)
    state = model.prefill(ids, mask)
    first = model.extend(state, some_codes(3, 4)[:, :, 0], 0, torch.zeros(3, 4, 0, dtype=torch.int64))
    state.rewind()
    again = model.extend(state, some_codes(3, 4)[:, :, 0], 0, torch.zeros(3, 4, 0, dtype=torch.int64))
    assert (first == again).all()


def test_whole_words_tell_which_tokens_belong_together(prompts: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = build_encoder_decoder(WORDS, replace(SIZES, layers=1, dropout=0.0), seed=0, whole_words=6)
    before = model.prefill(*prompts).hidden
    assert model.word_embeddings is not None
    with torch.no_grad():
        model.word_embeddings.weight[1:] += 1
    assert not torch.allclose(model.prefill(*prompts).hidden, before)


def test_prompts_hold_the_newest_events_in_order() -> None:
    _, log = small_log()
    instances = all_instances(log)
    codes = np.stack([np.arange(40) % 5, np.arange(40) // 5 % 4, np.arange(40) % 3], 1)
    words = Words((5, 4, 3), users=7)
    systems = [Tiger(i, prior_days=9, prior_smoothing=1, max_dislikes=3, max_positives=2) for i in get_args(Inputs)]
    for system in systems:
        system.words, system.codes = words, codes
    short, told = (system.prompts(instances) for system in systems)
    for n in range(len(instances)):
        rows = [*instances.dislikes[n][-3:], *instances.positives[n][-2:]]
        tokens = (codes[rows] + np.array(words.starts)).reshape(-1).tolist()
        middle = 3 * len(instances.dislikes[n][-3:])
        user = told[n][0]
        assert words.first_user <= user < len(words)
        assert told[n].tolist() == [user, 1, *tokens[:middle], 2, *tokens[middle:], 3]
        assert short[n].tolist() == [user, 1, *tokens[:middle], 3]
    same = instances.users[:, None] == instances.users
    users = np.array([told[n][0] for n in range(len(instances))])
    assert (users[:, None] == users)[same].all()
