"""Build, save and load the language model: the embedded small Qwen3, or any decoder-only checkpoint with LoRA."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.pytorch_utils import Conv1D

from conrec import processes
from conrec.config import LmConfig
from conrec.errors import ConrecError
from conrec.lm.policy import Policy, pad_prompts
from conrec.lm.prompts import wording_texts
from conrec.lm.sharding import layers_of, shard_layers, shared_like, whole
from conrec.lm.vocabulary import Vocabulary
from conrec.processes import is_main, local_rank

LORA_ALPHA = 32
"""Scale of the LoRA adapters, before it is divided by their rank."""


def build_vocabulary(config: LmConfig, texts: list[str], sizes: Sequence[int]) -> Vocabulary:
    """The checkpoint's tokenizer, or one trained on `texts` and our wording; with semantic-ID tokens either way."""
    if config.checkpoint:
        return Vocabulary.of_checkpoint(config.checkpoint, sizes)
    return Vocabulary.train(texts + wording_texts(), config.vocabulary, sizes)


def build_policy(config: LmConfig, vocabulary: Vocabulary, codewords: list[np.ndarray], seed: int) -> Policy:
    """A policy ready to be trained.

    New token rows start from the codebook: the codewords [K, d] of all levels under one projection and one scale, so
    that an item's vector is the sum of its tokens' embeddings and items alike in content begin alike.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm: Any = _checkpoint(config) if config.checkpoint else _embedded(config, vocabulary)
        if lm.get_input_embeddings().num_embeddings < len(vocabulary):  # a padded vocabulary stays as it is
            lm.resize_token_embeddings(len(vocabulary), mean_resizing=False)
        _start_from_codebook(lm, vocabulary, codewords)
        if config.lora_rank:
            lm = with_lora(lm, config, vocabulary)
    if config.gradient_checkpointing:
        lm.activation_checkpointing_enable({"use_reentrant": False})
    policy = Policy(lm, vocabulary, compute_dtype(config))
    policy.accumulate = config.accumulate
    return policy


@torch.no_grad()
def check_checkpoint(config: LmConfig) -> None:
    """ConrecError where a checkpoint's logits behind a padded, shared prompt are not those of the plain model.

    Whoever scales logits or places tokens in a way that `lm.policy` does not know, or takes no mask, is found here
    before anything is paid for.
    """
    words = build_vocabulary(config, [], (2, 2, 2))
    policy = build_policy(config, words, [np.eye(2, dtype=np.float32)] * 3, seed=0).to(device()).eval()
    prompts = [words.text("Disliked: this and that"), words.text("Liked:")]
    codes = torch.tensor([[[0, 1, 1], [1, 0, 1]]] * 2, device=policy.device)
    ids, mask = (tensor.to(policy.device) for tensor in pad_prompts(prompts, words.pad))
    limit = 1e-3 if policy.compute == torch.float32 else 0.1
    try:
        for policy.path in ("tree", "prefix"):
            first, rest = policy.hidden_of_answers(ids, mask, codes)
            ours = policy.head(torch.cat([first[:, None, None].expand(-1, 2, -1, -1), rest], dim=2))
            for b, prompt in enumerate(prompts):
                for g, answer in enumerate(codes[b].tolist()):
                    whole = torch.tensor([[*prompt, *words.sid(np.array(answer))]], device=policy.device)
                    plain = policy.lm(input_ids=whole, use_cache=False).logits[0, -4:-1].float()
                    if not ((ours[b, g] - plain).abs().max() <= limit * plain.abs().max().clamp_min(1.0)):
                        raise ValueError("its logits are others then")
    except Exception as error:  # whatever a model of another kind does not know
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConrecError(
            f"lm.checkpoint = {config.checkpoint!r}: a {policy.lm.config.model_type} cannot be asked behind a shared "
            f"prompt ({reason}); choose a family such as Llama, Qwen, Gemma, Granite, or GPT-2"
        ) from error


def on_device(policy: Policy, config: LmConfig) -> Policy:
    """A policy where it trains; with `lm.sharded` its layers are spread over the processes."""
    if config.sharded and processes.count() > 1:
        shard_layers(policy.decoder, device())
    return policy.to(device())


def compute_dtype(config: LmConfig) -> torch.dtype:
    """The dtype of the model's calculations: the recipe's, or bfloat16 on a GPU that has it and float32 elsewhere."""
    if config.dtype == "auto":
        return torch.bfloat16 if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if config.dtype == "bfloat16" else torch.float32


def save_policy(policy: Policy, folder: Path) -> None:
    """Write what differs from the starting point: all weights, or with LoRA the trained ones only.

    Of several processes the main one writes. The file appears when it is complete, so its presence says that the
    training behind it is.
    """
    state = trained_state(policy)
    if not is_main():
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "weights.safetensors.partial"
    save_file(state, partial)
    os.replace(partial, folder / "weights.safetensors")


def load_trained_policy(policy: Policy, folder: Path) -> None:
    """Put what `save_policy` wrote into a policy that `build_policy` made from the same recipe and seed."""
    load_trained_state(policy, load_file(folder / "weights.safetensors"))


def trained_state(policy: nn.Module) -> dict[str, torch.Tensor]:
    """Name -> tensor of every trainable parameter; of a sharded model all processes must ask."""
    return {n: whole(p.detach()).contiguous().clone() for n, p in policy.named_parameters() if p.requires_grad}


def load_trained_state(policy: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Put back what `trained_state` took; both must name the same parameters."""
    own = {n: p for n, p in policy.named_parameters() if p.requires_grad}
    if own.keys() != state.keys():
        difference = sorted(own.keys() ^ state.keys())[:3]
        raise ConrecError(f"the weights do not fit the recipe's [lm] table (they differ in {', '.join(difference)})")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(shared_like(state[name], parameter))


class Frozen:
    """The policy as it is now, to compare with while it goes on training: a second set of the weights that train, put
    in place for as long as the policy is asked."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._kept = [(p, p.detach().clone()) for p in policy.parameters() if p.requires_grad]

    @torch.no_grad()
    def __call__(self, *inputs: Any) -> torch.Tensor:
        """What the policy answered then."""
        self._exchange()
        try:
            answer: torch.Tensor = self._policy(*inputs)
            return answer
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for now, kept in self._kept:
            before = now.detach().clone()
            now.copy_(kept)
            kept.copy_(before)


def _embedded(config: LmConfig, vocabulary: Vocabulary) -> nn.Module:
    shape = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=config.hidden,
        intermediate_size=config.ffn,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.hidden // config.heads,
        max_position_embeddings=4096,
        # Qwen3's own 0.02 suits a width of thousands; a narrow model learns much faster from 1 / sqrt(fan-in).
        initializer_range=config.hidden**-0.5,
        tie_word_embeddings=True,
        pad_token_id=vocabulary.pad,
        eos_token_id=vocabulary.end,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM._from_config(shape, attn_implementation="sdpa", dtype=torch.float32)


def _checkpoint(config: LmConfig) -> Any:
    # Weights that train are float32, or small steps would be rounded away; with LoRA the others need not be.
    dtype = compute_dtype(config) if config.lora_rank else torch.float32
    given = {"use_safetensors": True, "trust_remote_code": False, "output_loading_info": True}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(config.checkpoint, dtype=dtype, **given)
        lm, told = loaded
        if lacking := sorted(told["missing_keys"]):  # they would begin at random
            raise ValueError(f"its weights lack {len(lacking)} of the tensors that it names, such as {lacking[0]}")
        return cut(lm, config.first_layers) if config.first_layers else lm
    except Exception as error:  # what is damaged raises whatever
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConrecError(f"lm.checkpoint = {config.checkpoint!r}: no model could be loaded ({reason})") from None


def cut(lm: Any, layers: int) -> Any:
    """The model with its first layers alone; ValueError where it has fewer. What was behind them is gone."""
    every, own = layers_of(lm.get_decoder()), lm.config
    if layers > len(every):
        raise ValueError(f"it has {len(every)} layers, lm.first_layers = {layers}")
    del every[layers:]
    own.num_hidden_layers = layers
    if getattr(own, "layer_types", None):
        own.layer_types = own.layer_types[:layers]
    return lm


def _start_from_codebook(lm: Any, vocabulary: Vocabulary, codewords: list[np.ndarray]) -> None:
    embeddings = lm.get_input_embeddings().weight
    width = embeddings.shape[1]
    with torch.no_grad():
        text = embeddings[: vocabulary.starts[0]].float()
        mean, spread = text.mean(0), text.std()
        targets = [embeddings]
        if lm.get_output_embeddings() is not None and lm.get_output_embeddings().weight is not embeddings:
            targets.append(lm.get_output_embeddings().weight)
        # Orthonormal rows where there is room: lengths and angles of the codewords survive.
        inner = codewords[0].shape[1]
        basis = torch.linalg.qr(torch.randn(max(inner, width), min(inner, width))).Q
        projection = basis.T if inner <= width else basis
        first = torch.as_tensor(codewords[0], dtype=torch.float32).norm(dim=1).mean().clamp_min(1e-8)
        scale = spread * width**0.5 / first
        for t, words in enumerate(codewords):
            z = torch.as_tensor(words, dtype=torch.float32) @ projection
            rows = mean + scale * (z + 0.1 * z.std() * torch.randn(z.shape))
            for target in targets:
                target[vocabulary.starts[t] : vocabulary.starts[t] + len(z)] = rows.to(target.dtype)


def with_lora(lm: Any, config: LmConfig, vocabulary: Vocabulary) -> PeftModel:
    """LoRA on every linear layer; LoRA alone would never train the new tokens, so their rows train too."""
    new_rows = [s + k for s, size in zip(vocabulary.starts, vocabulary.sizes) for k in range(size)]
    embeddings, head = lm.get_input_embeddings(), lm.get_output_embeddings()
    names = {id(module): name for name, module in lm.named_modules()}
    tied = head.weight is embeddings.weight  # then peft ties the head's rows to these by itself
    adapters = LoraConfig(
        r=config.lora_rank,
        lora_alpha=LORA_ALPHA,
        target_modules="all-linear",
        trainable_token_indices=new_rows if tied else {names[id(part)]: new_rows for part in (embeddings, head)},
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in lm.modules()),  # GPT-2's linear layers
        task_type="CAUSAL_LM",
    )
    return quiet_peft_model(lm, adapters)


def device() -> torch.device:
    """Where models run: the accelerator where there is one, of several processes on a machine each its own."""
    return torch.device(f"cuda:{local_rank()}" if torch.cuda.is_available() else "cpu")


def quiet_peft_model(lm: Any, adapters: LoraConfig) -> PeftModel:
    """The model with adapters, without the warning that peft 0.21 reads a property by its deprecated name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        return get_peft_model(lm, adapters)
