"""The policy: any Hugging Face decoder-only model, asked for semantic IDs behind one shared prompt.

The prompt goes through the model once, and all answers share it. `forward` scores all answers of a prompt, in one pass
(`tree`, with a 4D mask) or two (`prefix`, with a cache; not under gradient checkpointing). `prefill` and `extend`
decode step by step for rollouts and beams. docs/engine.md tells the whole story, with the traps on the way.

Shapes: B prompts, P prompt tokens (padded on the left), G answers a prompt, T levels, K codes of a level,
H hidden width. Which codes may follow a prefix, and with what prior, comes from a `Constraint`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from conrec.errors import ConrecError
from conrec.lm.vocabulary import Vocabulary

Pass = Literal["auto", "tree", "prefix"]


class Constraint(Protocol):
    """Which codes may follow a prefix: nodes of a trie, and the log-prior of each child (see `decode.trie`)."""

    def log_prior_of(self, level: int, nodes: Tensor, rows: Tensor) -> Tensor:
        """float [N, K]: log-prior of each code below `nodes` [N] for the prior's row `rows` [N]; -inf: not allowed."""

    def child(self, level: int, nodes: Tensor, codes: Tensor) -> Tensor:
        """int64 [N]: the node below `nodes` along `codes` (any value where there is none)."""


@dataclass
class PromptState:
    """A prompt that went through the model once, and the answers begun behind it."""

    cache: Any
    hidden: Tensor
    """[B, H] after the last prompt token."""
    mask: Tensor
    """bool [B, P]: which places of the prompt's cache are real."""
    suffix: int = 0
    """Answer tokens in the cache so far."""

    def rewind(self) -> None:
        """Forget the answers, keep the prompt: the same pass serves another search."""
        if self.suffix:
            self.cache.crop(-self.suffix)
        self.suffix = 0


State = TypeVar("State", bound=PromptState)


class AnswerModel(nn.Module, ABC, Generic[State]):
    """A model that gives log-probabilities of semantic IDs behind prompts, as training and decoding ask for them.

    Two models answer: `Policy` here, and the encoder-decoder of `baselines.encoder_decoder`. All log-probabilities are
    float32.
    """

    accumulate: int = 1
    """Parts that a step of training goes through it in, one after the other."""

    def __init__(self, starts: Sequence[int], sizes: Sequence[int]) -> None:
        """Args: first token and number of codes of each level."""
        super().__init__()
        self.starts, self.sizes = tuple(starts), tuple(sizes)

    @abstractmethod
    def prefill(self, prompt_ids: Tensor, prompt_mask: Tensor) -> State:
        """Send prompts [B, P], padded on the left, through the model once."""

    @abstractmethod
    def extend(self, state: State, codes: Tensor, level: int, ancestors: Tensor) -> Tensor:
        """Append one token to K answers of each prompt.

        Args: codes int64 [B, K] of level `level`; `ancestors` int64 [B, K, level], for each new token the places
        of its earlier tokens among the answer tokens already in the state. Returns hidden states [B, K, H].
        The new tokens take the places `state.suffix ... state.suffix + K - 1`.
        """

    @abstractmethod
    def hidden_of_answers(self, prompt_ids: Tensor, prompt_mask: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states that predict each token of answers.

        Args: codes int64 [B, G, T]. Returns [B, H] for level 0 and [B, G, T-1, H] for the others: the last token of an
        answer is never an input.
        """

    @abstractmethod
    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        """Logits of a level's codes, float32: [..., H] -> [..., K]."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def level_logprobs(
        self, hidden: Tensor, level: int, nodes: Tensor, rows: Tensor, constraint: Constraint, temperature: float = 1.0
    ) -> Tensor:
        """Log-probability of each code, [N, H] -> [N, K]; -inf where the constraint forbids it.

        It is normalised over the allowed codes with the prior inside, so the policy is a proper distribution over
        items. A `temperature` above 1 makes the model's own part count less, the prior as much as before.
        """
        logits = self.level_logits(hidden, level) / temperature
        return (logits + constraint.log_prior_of(level, nodes, rows)).log_softmax(-1)

    def forward(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        codes: Tensor,
        rows: Tensor,
        constraint: Constraint,
        temperature: float = 1.0,
    ) -> Tensor:
        """Log-probability of every token of every answer.

        Args: prompt ids int64 [B, P] padded on the left, their mask bool [B, P], codes int64 [B, G, T] (each a
        path of the constraint), the prior's row of each prompt int64 [B]. Returns float32 [B, G, T].
        """
        batch, group, levels = codes.shape
        first, rest = self.hidden_of_answers(prompt_ids, prompt_mask, codes)
        nodes = torch.zeros(batch, dtype=torch.int64, device=codes.device)
        scores = self.level_logprobs(first, 0, nodes, rows, constraint, temperature)
        out = [scores.gather(1, codes[:, :, 0])]
        flat_rows = rows.repeat_interleave(group)
        flat_nodes = nodes.repeat_interleave(group)
        for t in range(1, levels):
            flat_nodes = constraint.child(t - 1, flat_nodes, codes[:, :, t - 1].reshape(-1))
            hidden = rest[:, :, t - 1].reshape(batch * group, -1)
            scores = self.level_logprobs(hidden, t, flat_nodes, flat_rows, constraint, temperature)
            out.append(scores.gather(1, codes[:, :, t].reshape(-1, 1)).view(batch, group))
        return torch.stack(out, dim=-1)


class Policy(AnswerModel[PromptState]):
    """A decoder-only language model as a distribution over semantic IDs.

    This module, not the model inside it, is what Accelerate or DDP must wrap: calling the inner model directly
    would silently skip the synchronisation of gradients.
    `path` is the way that `forward` takes; `auto` is the prefix on a GPU, where its prompt pass needs no mask and
    can use the fastest attention, and the tree elsewhere. `compute` is what the model calculates in: bfloat16 by
    autocast, so that weights that train stay float32.
    """

    path: Pass = "auto"

    def __init__(self, lm: nn.Module, vocabulary: Vocabulary, compute: torch.dtype = torch.float32) -> None:
        super().__init__(vocabulary.starts, vocabulary.sizes)
        self.lm: Any = lm
        self.compute = compute
        self._window = _sliding_window(self._causal.config)

    @property
    def _causal(self) -> Any:
        """The causal model itself, below peft's wrapper where there is one."""
        return self.lm.get_base_model() if hasattr(self.lm, "get_base_model") else self.lm

    @property
    def checkpointing(self) -> bool:
        """Whether the model recomputes activations in the backward pass (it does so in training mode only)."""
        return any(getattr(module, "gradient_checkpointing", False) for module in self.lm.modules())

    @property
    def decoder(self) -> Any:
        """The model without its head."""
        return self._causal.get_decoder()

    def body(self, **inputs: Any) -> Any:
        """What the decoder answers."""
        with self._precision():
            return self.decoder(**inputs)

    def hidden_states(
        self, ids: Tensor, allowed: Tensor, positions: Tensor, keys: Tensor | None = None, cache: Any = None
    ) -> Tensor:
        """Hidden states [B, Q, H] of tokens [B, Q] at these positions, each of which may look where `allowed` says.

        Args: as for `attention_mask`; `keys` are the positions themselves where there is no cache.
        """
        mask = self.attention_mask(allowed, positions, positions if keys is None else keys)
        output = self.body(
            input_ids=ids, attention_mask=mask, position_ids=positions, cache=cache, use_cache=cache is not None
        )
        states: Tensor = output.last_hidden_state
        return states

    def head(self, hidden: Tensor) -> Tensor:
        """Logits over the whole vocabulary, float32."""
        with self._precision():
            return self._scaled(self._causal.get_output_embeddings()(hidden))

    def _scaled(self, logits: Tensor) -> Tensor:
        """What the head says, scaled and capped as some families do (Cohere, Granite, Gemma), float32."""
        config = self._causal.config
        logits, scale = logits.float(), getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
        logits = logits if scale == 1.0 else logits * scale  # of a large vocabulary that is a tenth of a step
        cap = getattr(config, "final_logit_softcapping", None)
        return (logits / cap).tanh() * cap if cap else logits

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute == torch.bfloat16)

    def level_logits(self, hidden: Tensor, level: int) -> Tensor:
        start, size = self.starts[level], self.sizes[level]
        head = self._causal.get_output_embeddings()
        if type(head) is nn.Linear:
            rows = slice(start, start + size)
            with self._precision():
                return self._scaled(F.linear(hidden, head.weight[rows], None if head.bias is None else head.bias[rows]))
        return self.head(hidden)[..., start : start + size]

    def hidden_of_answers(self, prompt_ids: Tensor, prompt_mask: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        batch, group, levels = codes.shape
        starts = torch.tensor(self.starts[:-1], device=codes.device)
        suffix = (codes[:, :, :-1] + starts).reshape(batch, group * (levels - 1))
        depth = torch.arange(1, levels, device=codes.device).repeat(group)
        suffix_positions = prompt_mask.sum(1, keepdim=True) - 1 + depth
        length, prompt = suffix.shape[1], prompt_ids.shape[1]
        member = torch.arange(group, device=codes.device).repeat_interleave(levels - 1)
        inside = ((member[:, None] == member) & (depth[:, None] >= depth)).expand(batch, length, length)
        if self._takes_the_prefix():
            state = self.prefill(prompt_ids, prompt_mask)
            below = torch.cat([state.mask[:, None, :].expand(-1, length, -1), inside], dim=-1)
            keys = torch.cat([prompt_positions(state.mask), suffix_positions], dim=1)
            hidden = self.hidden_states(suffix, below, suffix_positions, keys, state.cache)
            return state.hidden, hidden.view(batch, group, levels - 1, -1)
        causal = torch.ones(prompt, prompt, dtype=torch.bool, device=codes.device).tril()
        above = torch.cat([causal & prompt_mask[:, None, :], causal.new_zeros(batch, prompt, length)], dim=-1)
        below = torch.cat([prompt_mask[:, None, :].expand(-1, length, -1), inside], dim=-1)
        positions = torch.cat([prompt_positions(prompt_mask), suffix_positions], dim=1)
        tokens, allowed = torch.cat([prompt_ids, suffix], dim=1), torch.cat([above, below], dim=1)
        hidden = self.hidden_states(tokens, allowed, positions)
        return hidden[:, prompt - 1], hidden[:, prompt:].view(batch, group, levels - 1, -1)

    def _takes_the_prefix(self) -> bool:
        """Never under gradient checkpointing, which throws the cache away. It must not depend on whether there is a
        gradient: in bfloat16 the two paths differ by up to 0.05, and a ratio compares log-probabilities of both."""
        if self.checkpointing or self.path == "tree":
            return False
        return self.path == "prefix" or self.device.type == "cuda"

    def prefill(self, prompt_ids: Tensor, prompt_mask: Tensor) -> PromptState:
        cache = DynamicCache()  # not of the config: that one forgets what is beyond a sliding window
        if self.device.type == "cuda" and self._window is None:
            return self._prefill_without_mask(prompt_ids, prompt_mask, cache)
        causal = torch.ones(prompt_ids.shape[1], prompt_ids.shape[1], dtype=torch.bool, device=prompt_ids.device)
        allowed, positions = causal.tril() & prompt_mask[:, None, :], prompt_positions(prompt_mask)
        hidden = self.hidden_states(prompt_ids, allowed, positions, cache=cache)
        return PromptState(cache, hidden[:, -1], prompt_mask)

    def _prefill_without_mask(self, prompt_ids: Tensor, prompt_mask: Tensor, cache: DynamicCache) -> PromptState:
        """Prefill with the padding turned to the right: then plain causal attention is exact, and on a GPU fastest."""
        length = prompt_mask.sum(1, keepdim=True)
        place = torch.arange(prompt_ids.shape[1], device=prompt_ids.device)
        turned = prompt_ids.gather(1, (place - length) % prompt_ids.shape[1])
        output = self.body(input_ids=turned, cache=cache, use_cache=True)
        last = (length - 1)[:, :, None].expand(-1, -1, output.last_hidden_state.shape[2])
        return PromptState(output.cache, output.last_hidden_state.gather(1, last)[:, 0], place < length)

    def extend(self, state: PromptState, codes: Tensor, level: int, ancestors: Tensor) -> Tensor:
        batch, width = codes.shape
        below = torch.zeros(batch, width, state.suffix + width, dtype=torch.bool, device=codes.device)
        if level:
            below.scatter_(2, ancestors, True)
        below[:, :, state.suffix :] = torch.eye(width, dtype=torch.bool, device=codes.device)
        mask = torch.cat([state.mask[:, None, :].expand(-1, width, -1), below], dim=-1)
        positions = (state.mask.sum(1, keepdim=True) + level).expand(batch, width)
        # An answer is shorter than any window: its own tokens count as near, wherever they are in the cache.
        near = positions[:, :1].expand(batch, state.suffix + width)
        keys = torch.cat([prompt_positions(state.mask), near], dim=1)
        hidden = self.hidden_states(codes + self.starts[level], mask, positions, keys, state.cache)
        state.suffix += width
        return hidden

    def attention_mask(self, allowed: Tensor, queries: Tensor, keys: Tensor) -> Tensor | dict[str, Tensor]:
        """The model's `attention_mask` from who may look at whom, bool [B, Q, L].

        A float [B, 1, Q, L] of 0 and the smallest number (a bool mask is wrong under eager attention). The positions
        of queries [B, Q] and keys [B, L] matter where layers look at a sliding window only: they would take a mask as
        it is, so theirs is cut to the window here.
        """
        full = _float_mask(allowed, self.compute)
        if self._window is None:
            return full
        near = queries[:, :, None] - keys[:, None, :] < self._window
        sliding = _float_mask(allowed & near, self.compute)
        # A model that tells its layers' kinds takes a mask for each.
        mixed = bool(getattr(self._causal.config, "layer_types", None))
        return {"full_attention": full, "sliding_attention": sliding} if mixed else sliding


def _sliding_window(config: Any) -> int | None:
    """How many tokens a model's layers look back at; None where all of them see everything."""
    kinds = set(getattr(config, "layer_types", None) or ())
    strange = kinds - {"full_attention", "sliding_attention"}
    if strange:
        raise ConrecError(
            f"lm.checkpoint: layers of the kind {', '.join(sorted(strange))} cannot share a prompt; "
            "choose a model with full or sliding-window attention"
        )
    tokens = getattr(config, "sliding_window", None)
    if not tokens or (kinds and "sliding_attention" not in kinds):
        return None
    return int(tokens)


def _float_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """bool [B, Q, L] -> [B, 1, Q, L] of 0 and the smallest number."""
    mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def prompt_positions(mask: Tensor) -> Tensor:
    """Position of every prompt token, counted from the first real one; int64 [B, P]."""
    return (mask.long().cumsum(1) - 1).clamp_min(0)


def pad_prompts(prompts: Sequence[Sequence[int] | np.ndarray], pad: int) -> tuple[Tensor, Tensor]:
    """Ragged prompts -> ids int64 [B, P] padded on the left, mask bool [B, P]."""
    length = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), length), pad, dtype=torch.int64)
    mask = torch.zeros((len(prompts), length), dtype=torch.bool)
    for n, prompt in enumerate(prompts):
        if len(prompt):
            ids[n, length - len(prompt) :] = torch.as_tensor(prompt, dtype=torch.int64)
            mask[n, length - len(prompt) :] = True
    return ids, mask
