"""The joint embedding of titles, fields and pictures.

Blocks describe an item: the words of its title, its fields (category and attributes), its picture, and, where the
recipe names a pretrained encoder, what that makes of the title (docs/pretrained.md). Each encoder is fitted on the
items that existed before validation and frozen; later items go through the same maps. Every block is centred on the
fitted items and scaled to rows of length 1, so that no block counts more for having more numbers; then they are
weighted, put side by side and scaled to length 1 again. An item without a picture has zeros there, so its words get the
picture's weight. Centring spreads the directions, so that a threshold on a cosine means something.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from conrec.config import ItemsConfig
from conrec.files import readable
from conrec.items.fields import FieldsEncoder
from conrec.items.image import HogEncoder
from conrec.items.pictures import ImageAccount, Picture
from conrec.items.pretrained import PretrainedEncoder
from conrec.items.text import TfidfEncoder
from conrec.items.vectors import unit_rows

TEXT_DIMENSIONS, IMAGE_DIMENSIONS, FIELDS_DIMENSIONS = 96, 32, 32
"""Lengths of the vectors of a title, a picture and the fields, where they are learned from the catalogue."""


@dataclass(frozen=True)
class Content:
    """Titles, fields and pictures of items; one entry an item in each list."""

    titles: list[str]
    fields: list[dict[str, str]]
    """Category and attributes, by name."""
    pictures: list[Picture]

    def __len__(self) -> int:
        return len(self.titles)

    def take(self, rows: np.ndarray) -> "Content":
        index = rows.tolist()
        return Content(
            [self.titles[n] for n in index], [self.fields[n] for n in index], [self.pictures[n] for n in index]
        )


class JointEncoder:
    """Items to one embedding each (see the head of this file)."""

    def __init__(self, config: ItemsConfig) -> None:
        self.config = config
        self.text = TfidfEncoder(TEXT_DIMENSIONS)
        self.sentences = None if config.text == "tfidf" else PretrainedEncoder(config.text, "items.text")
        self.fields = FieldsEncoder(FIELDS_DIMENSIONS)
        self.hog = HogEncoder(IMAGE_DIMENSIONS)
        self.image: HogEncoder | PretrainedEncoder | None = self.hog if config.image == "hog" else None
        if config.image not in ("hog", "none"):
            self.image = PretrainedEncoder(config.image, "items.image")
        self._means: dict[str, np.ndarray] = {}

    def fit_encode(self, content: Content, fit_rows: np.ndarray) -> tuple[np.ndarray, ImageAccount]:
        """Fit on the items at `fit_rows` (int [m]), encode all: float32 [n, d] of rows of length 1."""
        known = content.take(fit_rows)
        self.text.fit(known.titles)
        self.fields.fit(known.fields)
        if self.image is not None:
            self.image.fit(known.pictures)
        blocks, account = self._blocks(content)
        for name, (values, present) in blocks.items():
            fitted = values[fit_rows][present[fit_rows]]
            self._means[name] = fitted.mean(axis=0) if len(fitted) else np.zeros(values.shape[1], np.float32)
        return self._joined(blocks), account

    def encode(self, content: Content) -> tuple[np.ndarray, ImageAccount]:
        """New items through the frozen maps: float32 [n, d]."""
        if not self._means:
            raise RuntimeError("fit_encode or load comes first")
        blocks, account = self._blocks(content)
        return self._joined(blocks), account

    def _blocks(self, content: Content) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], ImageAccount]:
        """Per block the vectors float32 [n, d] and where there is one at all, bool [n]."""
        words = {"text": self.text.encode_texts(content.titles), "fields": self.fields.encode(content.fields)}
        if self.sentences is not None:
            words["sentences"] = self.sentences.encode_texts(content.titles)
        blocks = {name: (values, np.any(values != 0, axis=1)) for name, values in words.items()}
        account = ImageAccount(["missing" if picture is None else "ignored" for picture in content.pictures])
        if self.image is not None:
            pictures, account = self.image.encode_images(content.pictures)
            blocks["image"] = (pictures, account.used)
        return blocks, account

    def _joined(self, blocks: dict[str, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        weights = {"fields": self.config.fields_weight, "image": self.config.image_weight}
        parts = [  # words weigh 1
            weights.get(name, 1.0) * unit_rows(values - self._means[name]) * present[:, None]
            for name, (values, present) in blocks.items()
        ]
        return unit_rows(np.concatenate(parts, axis=1))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        state = {f"mean.{name}": mean for name, mean in self._means.items()}
        for name, part in self._parts().items():
            state |= {f"{name}.{key}": value for key, value in part.state().items()}
        save_file({key: np.ascontiguousarray(value) for key, value in state.items()}, folder / "encoder.safetensors")

    @staticmethod
    def load(config: ItemsConfig, folder: Path) -> "JointEncoder":
        """The frozen encoder of a compress stage run under the same `config`."""
        encoder, states = JointEncoder(config), dict[str, dict[str, np.ndarray]]()
        with readable(folder / "encoder.safetensors", "the compress"):
            state = load_file(folder / "encoder.safetensors")
        for key, value in state.items():
            name, _, own = key.partition(".")
            states.setdefault(name, {})[own] = value
        encoder._means = states["mean"]
        for name, part in encoder._parts().items():
            part.restore(states.get(name, {}))
        return encoder

    def _parts(self) -> dict[str, TfidfEncoder | FieldsEncoder | HogEncoder | PretrainedEncoder]:
        parts = {"text": self.text, "sentences": self.sentences, "fields": self.fields, "image": self.image}
        return {name: part for name, part in parts.items() if part is not None}
