"""A step of GRPO: one shared prompt pass a group, against TRL's `GRPOTrainer` with DeepSeekMath's settings.

A step is: draw 16 answers of three tokens a prompt, score them under the reference, forward, backward, clip, AdamW.
TRL is measured twice: as it is on a CPU, where it puts every token of the prompt through the LM head, and with the
head on the answers only, as it does on CUDA; the second is the opponent. The lower bound sends each prompt three times
through the body alone (to draw, for the reference, with gradient) and takes the optimiser's step.

Exact means: on the same batch, with clip and KL active, our gradient is TRL's to 1e-4 of its length. Losses say
nothing here: on-policy their value is beta * KL whatever the gradient.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import torch
import transformers
from torch import Tensor

from benchmarks.measure import Result, Work, compared, in_turns, memory_growth, one_thread, oracle, ratios, spread
from benchmarks.setting import LEVELS, Setting, WholeVocabulary, gradients, relative_error, setting
from conrec.decode.prompt_dataset import Batch
from conrec.lm.model import Frozen
from conrec.lm.policy import Pass
from conrec.train.grpo import advantages, grpo_loss, rollout

GROUP, BETA, CLIP, RATE = 16, 0.04, 0.2, 1e-5
TOLERANCE = 1e-4
AS_IS, HEAD_ON_ANSWERS = "TRL as it is on CPU", "TRL, LM head on answers only"
OURS: dict[str, Pass] = {"ours": "tree", "ours, prefix cache": "prefix"}

Head = Literal["every token", "answers"]


def bench(quick: bool) -> Result:
    """2 prompts of 128 and of 512 tokens, 16 answers each, a model of 3 M weights."""
    oracle("trl")
    lengths, turns = ((24,), 2) if quick else ((128, 512), 3)
    by_length: dict[int, dict[str, np.ndarray]] = {}
    memory: dict[int, dict[str, float | None]] = {}
    with one_thread():
        for length in lengths:
            by_length[length] = in_turns(
                {
                    **{name: small_step(quick, length, path) for name, path in OURS.items()},
                    "lower bound": lower_bound_step(quick, length),
                    HEAD_ON_ANSWERS: trl_step(quick, length, "answers"),
                    AS_IS: trl_step(quick, length, "every token"),
                },
                turns,
            )
        error = max(gradient_error(quick, lengths[0], path) for path in OURS.values())
    for length in lengths if not quick else ():
        memory[length] = {
            **{name: memory_growth(small_step, quick, length, path) for name, path in OURS.items()},
            HEAD_ON_ANSWERS: memory_growth(trl_step, quick, length, "answers"),
            AS_IS: memory_growth(trl_step, quick, length, "every token"),
        }
    longest = lengths[-1]
    taken = by_length[longest]
    targets = {}
    if not quick:
        targets["at least 10 times"] = bool(np.median(ratios(taken, HEAD_ON_ANSWERS)) >= 10)
        ours_mb, theirs_mb = memory[longest]["ours"], memory[longest][HEAD_ON_ANSWERS]
        if ours_mb is not None and theirs_mb is not None:
            targets["at most a fifth of the memory"] = ours_mb <= theirs_mb / 5
    return compared(
        taken,
        HEAD_ON_ANSWERS,
        bench="grpo",
        work=f"2 prompts of {longest} tokens, {GROUP} answers each, {setting(quick).parameters / 1e6:.1f} M weights",
        exact=error <= TOLERANCE,
        targets=targets,
        details={
            "relative_error_of_gradient": error,
            "memory_growth_mb": {str(length): found for length, found in memory.items()},
            "shorter_prompts": {
                str(length): {name: spread(seconds) for name, seconds in found.items()}
                for length, found in by_length.items()
                if length != longest
            },
        },
    )


def reward(codes: Tensor) -> Tensor:
    """Something to learn that costs nothing: int64 [..., 3] -> float [...]."""
    return (codes * codes.new_tensor([7, 3, 1])).sum(-1).remainder(17).float()


def our_step(things: Setting, part: Batch, path: Pass, copies: int = 1) -> Work:
    """Our step on these prompts, ready to go; like training it keeps what trains of the reference.

    With `copies` each prompt goes through the model that many times, for as many answers less: 16 shares nothing.
    """
    policy = things.policy
    policy.path = path
    reference = Frozen(policy)
    trained = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE)
    generator = torch.Generator().manual_seed(0)
    asked = Batch(
        part.index.repeat(copies),
        *(tensor.repeat_interleave(copies, 0) for tensor in (part.prompt_ids, part.prompt_mask, part.rows)),
    )
    groups = (len(part.rows), GROUP)

    def step() -> None:
        policy.eval()
        codes, _ = rollout(policy, asked, things.pool, GROUP // copies, generator)
        advantage, useful = advantages(reward(codes).view(groups))
        inputs = (asked.prompt_ids, asked.prompt_mask, codes, asked.rows, things.pool)
        policy.train(policy.checkpointing)
        with torch.no_grad():
            behind = reference(*inputs).view(*groups, LEVELS)
        new = policy(*inputs).view(*groups, LEVELS)
        loss = grpo_loss(new, new.detach(), behind, advantage, useful, epsilon=CLIP, beta=BETA)
        _update(loss.value, trained, optimizer)

    return step


def small_step(quick: bool, length: int, path: Pass) -> Work:
    """Our step of the bench's own model."""
    things = setting(quick)
    return our_step(things, things.prompts(2, length), path)


def lower_bound_step(quick: bool, length: int) -> Work:
    """Three passes of the body over each prompt, one of them backwards, too, and the optimiser's step."""
    things = setting(quick)
    part = things.prompts(2, length)
    optimizer = torch.optim.AdamW(things.policy.parameters(), lr=RATE)

    def body() -> Tensor:
        hidden: Tensor = things.policy.body(input_ids=part.prompt_ids, use_cache=False).last_hidden_state
        return hidden.square().mean()

    def step() -> None:
        with torch.no_grad():
            body()
            body()
        _update(body(), list(things.policy.parameters()), optimizer)

    return step


def trl_step(quick: bool, length: int, head: Head) -> Work:
    """TRL's step, ready to go: its own sampling, scoring and loss, and the same update."""
    things = setting(quick)
    part = things.prompts(2, length)
    rows = [{"prompt": text} for text in _texts(things, part) for _ in range(GROUP)]
    starts = torch.tensor(things.vocabulary.starts)

    def rewards(completion_ids: list[list[int]], **_: object) -> list[float]:
        return reward(torch.tensor(completion_ids) - starts).tolist()

    trainer = grpo_trainer(things, _texts(things, part), rewards)
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=RATE)

    def step() -> None:
        with lm_head_on(head):
            trainer.training_step(trainer.model, rows, None)  # backward included
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def grpo_trainer(
    things: Setting, prompts: list[str], rewards: Callable[..., list[float]], drawn: Any = None, **settings: Any
) -> Any:
    """TRL's trainer of a copy of the model, with DeepSeekMath's settings, or others where `settings` says so.

    With `drawn` that function gives the answers, instead of TRL's own sampling.
    """
    trl, datasets = oracle("trl"), oracle("datasets")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that will change in later versions, and rollout_func
        things.policy.lm.save_pretrained(folder)
        config = trl.GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            per_device_train_batch_size=len(prompts) * GROUP,
            gradient_accumulation_steps=1,
            num_generations=GROUP,
            max_completion_length=LEVELS,
            # TRL knows no trie: it draws from the whole vocabulary, only never the end.
            generation_kwargs={"min_new_tokens": LEVELS},
            loss_type="grpo",
            beta=BETA,
            epsilon=CLIP,
            **{"use_bias_correction_kl": False, **settings},
        )
        trainer = trl.GRPOTrainer(
            model=folder,
            reward_funcs=rewards,
            args=config,
            train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
            processing_class=copy.deepcopy(things.vocabulary.tokenizer),
            rollout_func=drawn,
        )
    trainer.current_gradient_accumulation_steps = 1  # what `train` sets before the first step
    return trainer


@contextlib.contextmanager
def lm_head_on(head: Head) -> Iterator[None]:
    """Which tokens TRL sends through the LM head: it decides by the device."""
    utils = oracle("trl.trainer.utils")
    decides = utils._use_triton
    utils._use_triton = lambda device: head == "answers"
    try:
        yield
    finally:
        utils._use_triton = decides


def gradient_error(quick: bool, length: int, path: Pass, **settings: Any) -> float:
    """Distance of our gradient from TRL's on one batch of TRL's, relative to its length.

    The answers are drawn by our rollout, so that they are items; rewards, advantages, reference and loss are TRL's.
    The reference is another model than the policy, and the old log-probabilities are off by more than the clip allows
    in places.
    """
    things = setting(quick)
    part = things.prompts(2, length)
    policy = things.whole_vocabulary
    policy.path = path
    codes, _ = rollout(things.policy, part, things.pool, GROUP, torch.Generator().manual_seed(1))
    tokens = (codes + torch.tensor(things.vocabulary.starts)).flatten(0, 1)
    prompts = part.prompt_ids.repeat_interleave(GROUP, 0)

    def rewards(completion_ids: list[list[int]], **_: object) -> list[float]:
        return reward(torch.tensor(completion_ids) - torch.tensor(things.vocabulary.starts)).tolist()

    def drawn(_: list[str], __: object) -> dict[str, object]:
        return {"prompt_ids": prompts.tolist(), "completion_ids": tokens.tolist(), "logprobs": None}

    texts = _texts(things, part)
    trainer = grpo_trainer(things, texts, rewards, drawn, **settings)
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trainer.ref_model.parameters():
            parameter += 0.02 * parameter.std().nan_to_num() * torch.randn(parameter.shape, generator=noise)
    batch = trainer._generate_and_score_completions([{"prompt": text} for text in texts for _ in range(GROUP)])
    inputs = (part.prompt_ids, part.prompt_mask, codes, part.rows, things.pool)
    with torch.no_grad():
        old = policy(*inputs)
        old = old + 0.3 * torch.randn(old.shape, generator=noise)
        reference = WholeVocabulary(trainer.ref_model, things.vocabulary)(*inputs)
    batch["old_per_token_logps"] = old.flatten(0, 1)
    trainer.compute_loss(trainer.model, batch).backward()

    # TRL divides by std + 1e-4 and we by std: the advantages are TRL's, so that the losses are the same.
    advantage = batch["advantages"].view(len(part.rows), GROUP)
    loss = grpo_loss(
        policy(*inputs),
        old,
        reference,
        advantage,
        torch.ones(len(advantage), dtype=torch.bool),
        epsilon=CLIP,
        beta=BETA,
    )
    loss.value.backward()
    if loss.clip_share == 0 or loss.kl < 1e-6:
        raise RuntimeError("the comparison is void: neither clip nor KL are active")
    return relative_error(gradients(policy.lm), gradients(trainer.model))


def _texts(things: Setting, part: Batch) -> list[str]:
    """The prompts as text, which the tokenizer reads back as the same tokens."""
    tokenizer = things.vocabulary.tokenizer
    texts = ["".join(tokenizer.convert_ids_to_tokens(ids)) for ids in part.prompt_ids.tolist()]
    if tokenizer(texts)["input_ids"] != part.prompt_ids.tolist():
        raise RuntimeError("the prompts do not survive the tokenizer")
    return texts


def _update(loss: Tensor, trained: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
