"""Any sentence-transformers or CLIP-like checkpoint, from a hub or a folder (extra `encoders`)."""

from functools import lru_cache, partial
from typing import Any

import numpy as np

from conrec.errors import ConrecError, extras_named
from conrec.fetch import check_fetched
from conrec.items.pictures import ImageAccount, Picture, open_picture, read_picture
from conrec.parallel import map_parts

BATCH = 64
AT_ONCE = 1024
"""Texts of a part (`conrec.parallel`). Within it those of one length stand together."""


class PretrainedEncoder:
    """Texts or pictures through a frozen checkpoint. Nothing is fitted, so there is no state.

    Weights must be safetensors, and code that comes with a checkpoint is not run.
    """

    def __init__(self, checkpoint: str, setting: str) -> None:
        self.checkpoint = checkpoint
        self.setting = setting

    def fit(self, examples: list[Any]) -> None:
        """Nothing to learn."""

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        parts = [texts[start : start + AT_ONCE] for start in range(0, max(1, len(texts)), AT_ONCE)]
        return np.concatenate(list(map_parts(partial(self._encode, what="texts"), parts, "Texts", gpu=True)))

    def encode_images(self, pictures: list[Picture]) -> tuple[np.ndarray, ImageAccount]:
        """float32 [n, d] and the account; zeros for what is missing or refused."""
        account, vectors = ImageAccount(), list[np.ndarray]()
        starts = range(0, len(pictures), BATCH)
        parts = (list(map(read_picture, pictures[start : start + BATCH])) for start in starts)
        for found, outcomes in map_parts(self._of_images, parts, "Pictures", total=len(starts), gpu=True):
            vectors.append(found)
            account.outcome += outcomes
        vectors = [found for found in vectors if found.size]
        encoded = np.zeros((len(pictures), vectors[0].shape[1] if vectors else 1), np.float32)
        if vectors:
            encoded[account.used] = np.concatenate(vectors)
        return encoded, account

    def _of_images(self, pictures: list[bytes | str]) -> tuple[np.ndarray, list[str]]:
        opened = [open_picture(picture, 256) for picture in pictures]
        images = [image for image, _ in opened if image is not None]
        for image in images:
            image.thumbnail((512, 512))
        vectors = self._encode(images, "pictures") if images else np.zeros((0, 0), np.float32)
        return vectors, [outcome for _, outcome in opened]

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Nothing to take up."""

    def _encode(self, inputs: list[Any], what: str) -> np.ndarray:
        model = _load(self.checkpoint, self.setting)
        try:
            vectors = model.encode(inputs, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False)
        except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConrecError(
                f"{self.setting} = {self.checkpoint!r} cannot encode {what} ({reason}); name a checkpoint that can"
            ) from error
        return np.asarray(vectors, np.float32)


@lru_cache(maxsize=2)
def _load(checkpoint: str, setting: str) -> Any:
    """The model, once for titles and pictures."""
    check_fetched(setting, checkpoint)
    with extras_named(f"{setting} = {checkpoint!r}"):
        import torch
        from sentence_transformers import SentenceTransformer
    # Most processors take several times as long in bfloat16, in which many checkpoints are stored.
    dtype = {} if torch.cuda.is_available() else {"dtype": torch.float32}
    try:
        return SentenceTransformer(checkpoint, model_kwargs={"use_safetensors": True} | dtype)
    except Exception as error:  # the hub client has dozens of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConrecError(
            f"{setting} = {checkpoint!r} could not be loaded ({reason}); name a folder or hub checkpoint"
        ) from error
