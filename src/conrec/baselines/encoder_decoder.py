"""An encoder-decoder (T5) that speaks semantic IDs: an `AnswerModel` as `lm.policy.Policy` is one.

The history goes through the encoder once; every answer is decoded against that one output, in training, in beam
search and for candidates alike: self-attention sees one answer at a time, cross-attention all answers of a user in
one query, so nothing of the history is repeated. A search adds a token to each of its answers at a time; keys and
values of all tokens stay in the order in which they came, and each answer looks its own ones up.

Its words are few and all special: padding, the codes of each level, user tokens, one token a part of the prompt.
It reads no text, so no text can become a token.
"""

from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from conrec.baselines.generative import Generative
from conrec.data.instances import Instances, Ragged
from conrec.features.sizes import Sizes
from conrec.lm.policy import AnswerModel, PromptState

PAD = 0
"""Padding, and the token that every answer starts from (as in T5)."""
PARTS = ("dislikes", "positives", "end")
USERS = 2000
"""User tokens of `T5Recommender`."""


@dataclass(frozen=True)
class Words:
    """Where each kind of token begins: padding, one token a part, the levels' codes, users."""

    sizes: tuple[int, ...]
    """Codes per level."""
    users: int = 0
    """User tokens; a user is hashed to one of them (0: none)."""

    @property
    def starts(self) -> tuple[int, ...]:
        """First token of each level."""
        return tuple(1 + len(PARTS) + int(n) for n in np.cumsum((0, *self.sizes[:-1])))

    @property
    def first_user(self) -> int:
        """First user token."""
        return self.starts[-1] + self.sizes[-1]

    def __len__(self) -> int:
        return self.first_user + self.users


@dataclass
class EncoderState(PromptState):
    """Histories that went through the encoder once; `cache` is what came out of it, float [B, P, H]."""

    history: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """For each block of the decoder keys and values of the history, float [B, heads, P, d]."""
    answers: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """The same of what every answer starts from and of the `suffix` tokens so far, float [B, 1 + suffix, heads, d]."""

    @property
    def see_history(self) -> Tensor:
        """float [B, 1, 1, P]: 0, or the smallest number where the history is padding."""
        return (~self.mask).to(self.hidden.dtype)[:, None, None] * torch.finfo(self.hidden.dtype).min

    def rewind(self) -> None:
        """Forget the answers, keep the histories."""
        self.answers = [(keys[:, :1], values[:, :1]) for keys, values in self.answers]
        self.suffix = 0


class EncoderDecoder(AnswerModel[EncoderState]):
    """Log-probabilities of codes behind encoded histories; see `AnswerModel` for the shapes.

    `whole_words` adds to each prompt token an embedding of the number of its item in the prompt (P5's way to say
    which tokens belong together).
    """

    def __init__(self, lm: T5ForConditionalGeneration, words: Words, whole_words: int = 0) -> None:
        super().__init__(words.starts, words.sizes)
        self.lm: Any = lm
        self.word_embeddings = nn.Embedding(whole_words, lm.config.d_model) if whole_words else None

    def prefill(self, prompt_ids: Tensor, prompt_mask: Tensor) -> EncoderState:
        """Encode prompts [B, P] once; `hidden` is what predicts the first code."""
        embedded = self.lm.shared(prompt_ids)
        if self.word_embeddings is not None:
            begins = (prompt_ids >= self.starts[0]) & (prompt_ids < self.starts[0] + self.sizes[0])
            last = self.word_embeddings.num_embeddings - 1
            embedded = embedded + self.word_embeddings(begins.cumsum(1).clamp_max(last))
        encoded = self.lm.encoder(inputs_embeds=embedded, attention_mask=prompt_mask.long()).last_hidden_state
        state = EncoderState(encoded, encoded[:, -1], prompt_mask)
        state.hidden = self._decode(state, prompt_ids.new_zeros(len(prompt_ids), 1, 0))[:, 0, 0]
        return state

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """Logits of a level's codes, float32: [..., H] -> [..., K]."""
        start = self.starts[level]
        return F.linear(hidden, self.lm.lm_head.weight[start : start + self.sizes[level]]).float()

    def extend(self, state: EncoderState, codes: Tensor, level: int, ancestors: Tensor) -> Tensor:
        """Append one token to answers, see `AnswerModel.extend`."""
        batch, width = codes.shape
        if not state.history:
            self._begin(state)
        start = ancestors.new_zeros(batch, width, 1)
        own = torch.arange(state.suffix, state.suffix + width, device=codes.device)
        seen = torch.cat([start, 1 + ancestors, 1 + own[None, :, None].expand(batch, -1, -1)], dim=2)
        state.suffix += width
        return self._step(state, codes + self.starts[level], seen)

    def _begin(self, state: EncoderState) -> None:
        """Keys and values of the histories, and of what every answer starts from."""
        for block in self.lm.decoder.block:
            attention = block.layer[1].EncDecAttention
            keys, values = (_by_head(of(state.cache), attention) for of in (attention.k, attention.v))
            state.history.append((keys.transpose(1, 2), values.transpose(1, 2)))
            nothing = keys[:, :0]
            state.answers.append((nothing, nothing))
        first = torch.zeros(len(state.cache), 1, 1, dtype=torch.int64, device=state.cache.device)
        self._step(state, first[:, :, 0] + PAD, first)

    def _step(self, state: EncoderState, tokens: Tensor, seen: Tensor) -> Tensor:
        """Tokens int64 [B, K] of K answers, each of which sees its places `seen` int64 [B, K, s] of `state.answers`,
        the last one its own -> hidden states [B, K, H]."""
        stack = self.lm.decoder
        prompt = torch.arange(len(tokens), device=tokens.device)[:, None, None]
        hidden, bias = stack.dropout(self.lm.shared(tokens)), None
        for n, block in enumerate(stack.block):
            layer, attention = block.layer[0], block.layer[0].SelfAttention
            if bias is None:
                bias = attention.compute_bias(seen.shape[2], seen.shape[2])[0, :, -1].T  # [s, heads]
            normed = layer.layer_norm(hidden)
            query, key, value = (_by_head(of(normed), attention) for of in (attention.q, attention.k, attention.v))
            keys, values = state.answers[n]
            keys, values = torch.cat([keys, key], dim=1), torch.cat([values, value], dim=1)
            state.answers[n] = keys, values
            weight = ((query[:, :, None] * keys[prompt, seen]).sum(-1) + bias).softmax(2)
            found = (weight[..., None] * values[prompt, seen]).sum(2)
            hidden = hidden + layer.dropout(attention.o(found.flatten(2)))
            layer, attention = block.layer[1], block.layer[1].EncDecAttention
            query = _by_head(attention.q(layer.layer_norm(hidden)), attention).transpose(1, 2)
            found = F.scaled_dot_product_attention(query, *state.history[n], attn_mask=state.see_history, scale=1.0)
            hidden = hidden + layer.dropout(attention.o(found.transpose(1, 2).flatten(2)))
            hidden = block.layer[2](hidden)
        return self._out(hidden)

    def hidden_of_answers(self, prompt_ids: Tensor, prompt_mask: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states that predict each code: [B, H] for level 0, [B, G, T-1, H] for the others."""
        state = self.prefill(prompt_ids, prompt_mask)
        tokens = codes + torch.as_tensor(self.starts[: codes.shape[2]], device=codes.device)
        return state.hidden, self._decode(state, tokens[:, :, :-1])[:, :, 1:]

    def _decode(self, state: EncoderState, tokens: Tensor) -> Tensor:
        """Tokens [B, G, t] of answers begun -> hidden states [B, G, t + 1, H], ready for the head."""
        stack = self.lm.decoder
        batch, group, length = tokens.shape[0], tokens.shape[1], tokens.shape[2] + 1
        inputs = torch.cat([tokens.new_full((batch, group, 1), PAD), tokens], dim=2).view(batch * group, length)
        lowest = torch.finfo(state.hidden.dtype).min
        causal = state.hidden.new_full((length, length), lowest).triu(1)[None, None]
        hidden, bias, no_bias = stack.dropout(self.lm.shared(inputs)), None, None
        for block in stack.block:
            hidden, bias = block.layer[0](hidden, attention_mask=causal, position_bias=bias)[:2]
            hidden, no_bias = block.layer[1](
                hidden.reshape(batch, group * length, -1),
                key_value_states=state.cache,
                attention_mask=state.see_history,
                position_bias=no_bias,
            )[:2]
            hidden = block.layer[2](hidden).view(batch * group, length, -1)
        return self._out(hidden).view(batch, group, length, -1)

    def _out(self, hidden: Tensor) -> Tensor:
        """What the last block of the decoder says, ready for the head."""
        config, stack = self.lm.config, self.lm.decoder
        hidden = stack.dropout(stack.final_layer_norm(hidden))
        return hidden * config.d_model**-0.5 if config.scale_decoder_outputs else hidden


def _by_head(projected: Tensor, attention: Any) -> Tensor:
    """[B, L, heads * d] -> [B, L, heads, d]."""
    return projected.unflatten(2, (attention.n_heads, -1))


def build_encoder_decoder(words: Words, sizes: Sizes, *, seed: int, whole_words: int = 0) -> EncoderDecoder:
    """A T5 of random weights: as many layers in the encoder as in the decoder, feed-forward four times as wide."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = T5Config(
            vocab_size=len(words),
            d_model=sizes.width,
            d_kv=sizes.width // sizes.heads,
            d_ff=4 * sizes.width,
            num_layers=sizes.layers,
            num_decoder_layers=sizes.layers,
            num_heads=sizes.heads,
            dropout_rate=sizes.dropout,
            pad_token_id=PAD,
            eos_token_id=None,
        )
        return EncoderDecoder(T5ForConditionalGeneration(config), words, whole_words)


class T5Recommender(Generative):
    """A T5 of random weights that reads a user token and the IDs of the history; a subclass says which IDs."""

    words: Words

    def build_t5(self, codes: np.ndarray, sizes: tuple[int, ...], whole_words: int = 0) -> None:
        """Set up a model of `codes`, int [items, levels], with `sizes` codes per level."""
        self.codes, self.pad, self.words = codes, PAD, Words(sizes, USERS)
        self.policy = build_encoder_decoder(self.words, self.sizes, seed=self.seed, whole_words=whole_words)

    def prompts(self, instances: Instances) -> Ragged:
        """The user, the newest dislikes, then the newest positives where they are told."""
        words, tokens = self.words, self.codes.astype(np.int64) + np.asarray(self.words.starts)
        lists = []
        for n in range(len(instances)):
            prompt = [words.first_user + crc32(str(instances.users[n]).encode()) % words.users]
            prompt += [1, *tokens[instances.dislikes[n][-self.max_dislikes :]].reshape(-1).tolist()]
            if self.positives:
                prompt += [2, *tokens[instances.positives[n][-self.max_positives :]].reshape(-1).tolist()]
            lists.append([*prompt, 3])
        return Ragged.of(lists, np.int64)
