"""Pictures to vectors without any download: shapes (HOG) and colours, reduced by PCA."""

from itertools import chain

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA

from conrec.items.pictures import ImageAccount, Picture, open_picture, read_picture
from conrec.parallel import map_parts

SIDE = 64
AT_ONCE = 16
"""Pictures of a part (`conrec.parallel`); so many files are in memory."""


class HogEncoder:
    """Histogram of oriented gradients and colours of the picture at 64 x 64, then PCA."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._mean = np.zeros(0, np.float32)
        self._components = np.zeros((0, 0), np.float32)
        self._seen: dict[int, tuple[Picture, np.ndarray | None, str]] = {}

    def fit(self, pictures: list[Picture]) -> None:
        """PCA of the pictures that can be used; with fewer than two of them every picture becomes zeros."""
        raw, account = self.raw(pictures)
        raw = raw[account.used]
        width = min(self.dimensions, len(raw) - 1, raw.shape[1])
        if width < 1:
            self._mean, self._components = np.zeros(raw.shape[1], np.float32), np.zeros((1, raw.shape[1]), np.float32)
            return
        pca = PCA(width, svd_solver="randomized", random_state=0).fit(raw)
        self._mean, self._components = pca.mean_.astype(np.float32), pca.components_.astype(np.float32)

    def encode_images(self, pictures: list[Picture]) -> tuple[np.ndarray, ImageAccount]:
        """float32 [n, d] and the account; zeros for what is missing or refused."""
        raw, account = self.raw(pictures)
        encoded = (raw - self._mean) @ self._components.T
        encoded[~account.used] = 0
        return encoded.astype(np.float32), account

    def state(self) -> dict[str, np.ndarray]:
        return {"mean": self._mean, "components": self._components}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._mean, self._components = state["mean"], state["components"]

    def raw(self, pictures: list[Picture]) -> tuple[np.ndarray, ImageAccount]:
        """Features before PCA, float32 [n, 464]: zeros for what is missing or refused; and the account.

        The encoder looks once at a picture, and keeps its features.
        """
        seen = self._seen
        new = list({id(one): one for one in pictures if id(one) not in seen or seen[id(one)][0] is not one}.values())
        # Read here, so that another machine need not see the files.
        parts = (list(map(read_picture, new[start : start + AT_ONCE])) for start in range(0, len(new), AT_ONCE))
        looked = map_parts(_look, parts, "Pictures", total=-(-len(new) // AT_ONCE))
        seen.update({id(one): (one, *found) for one, found in zip(new, chain.from_iterable(looked))})
        raw, account = np.zeros((len(pictures), 464), np.float32), ImageAccount()
        for row, picture in enumerate(pictures):
            _, values, outcome = seen[id(picture)]
            if values is not None:
                raw[row] = values
            account.outcome.append(outcome)
        return raw, account


def _look(pictures: list[bytes | str]) -> list[tuple[np.ndarray | None, str]]:
    """The features of each, if it can be used, and the outcome."""
    opened = [open_picture(picture, SIDE) for picture in pictures]
    return [(None if image is None else features(image), outcome) for image, outcome in opened]


def features(image: Image.Image) -> np.ndarray:
    """float32 [464]: HOG (288), a colour histogram in HSV (128) and the colours of a 4 x 4 grid (48).

    Each of the three parts has length 1; square roots keep one dominating colour from drowning the rest.
    """
    from skimage.color import rgb2hsv
    from skimage.feature import hog

    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    shapes = hog(
        small.mean(axis=2), orientations=8, pixels_per_cell=(16, 16), cells_per_block=(2, 2), feature_vector=True
    )
    hsv = rgb2hsv(small).reshape(-1, 3)
    bins = np.minimum((hsv * (8, 4, 4)).astype(int), (7, 3, 3))
    colours = np.bincount(bins @ (16, 4, 1), minlength=128)
    grid = small.reshape(4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(1, 3)).ravel()
    parts = [shapes, np.sqrt(colours), grid]
    return np.concatenate([p / (np.linalg.norm(p) or 1) for p in parts]).astype(np.float32)
