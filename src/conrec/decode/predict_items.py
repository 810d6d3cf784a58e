"""Lists of predicted dislikes for many users, and the log-likelihood of given candidates."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from conrec.config import PredictConfig
from conrec.decode.beam import best_items, heaviest_items, search
from conrec.decode.prompt_dataset import Decoding
from conrec.lm.policy import AnswerModel
from conrec.progress import track


@torch.no_grad()
def predict_items(
    policy: AnswerModel | None, decodings: Sequence[Decoding], config: PredictConfig, title: str | None = "predict"
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The k likeliest items of every instance, by beam search with `beams` hypotheses, `batch` users at once.

    For each decoding item rows int32 [n, k] (-1: none) and scores float32 [n, k]. All decodings are of the same users
    and prompts, and share one prompt pass a user. At an infinite temperature the policy is not asked, and may be None.
    title: of the progress; None for none.
    """
    if policy is not None:
        policy.eval()
    data, k = decodings[0].data, config.k
    size = (len(data), k)
    out = [(np.full(size, -1, np.int32), np.full(size, -np.inf, np.float32)) for _ in decodings]
    parts = data.by_length(config.batch)
    for part in parts if title is None else track(parts, title):
        state = None
        excluded = data.excluded(data.instances.take(part.index))
        exclude = [excluded[n] for n in range(len(excluded))]
        for (items, scores), decoding in zip(out, decodings):
            pool, rows = decoding.pool(part)
            if policy is None or math.isinf(decoding.temperature):
                best = heaviest_items(pool, rows, exclude, k)
            else:
                if state is None:
                    state = policy.prefill(part.prompt_ids, part.prompt_mask)
                found = search(policy, state, rows, pool, beams=config.beams, temperature=decoding.temperature)
                best = best_items(found, pool, rows, exclude, k)
            items[part.index], scores[part.index] = best
    return out


@torch.no_grad()
def score_items(
    policy: AnswerModel,
    decodings: Sequence[Decoding],
    candidates: np.ndarray,
    codes: np.ndarray,
    *,
    batch: int,
    title: str | None = "score candidates",
) -> list[np.ndarray]:
    """Log-likelihood of candidates' semantic IDs, float32 [n, C] for each decoding (of the same instances).

    Args: `candidates` int [n, C] item rows, `codes` int [items, T]. What is not in the
    candidate pool (the user has seen it, say) has -inf. title: as above.
    """
    policy.eval()
    data = decodings[0].data
    out = [np.zeros(candidates.shape, np.float32) for _ in decodings]
    parts = data.by_length(batch)
    for part in parts if title is None else track(parts, title):
        answers = torch.as_tensor(codes[candidates[part.index]], dtype=torch.int64, device=data.device)
        for scores, decoding in zip(out, decodings):
            pool, rows = decoding.pool(part)
            logprobs = policy(part.prompt_ids, part.prompt_mask, answers, rows, pool, decoding.temperature)
            likelihood = logprobs.sum(-1)
            # Below a node without items nothing is allowed, and the log-probabilities there are not a number.
            scores[part.index] = likelihood.masked_fill(likelihood.isnan(), -torch.inf).cpu().numpy()
    return out
