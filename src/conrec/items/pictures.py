"""Pictures of strangers: opened with care, and every one accounted for."""

import io
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

Picture = bytes | Path | None
"""The encoded picture, its file, or nothing."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 40_000_000
"""A picture whose header claims more is never decoded: a small file can unpack to gigabytes."""
MAX_BYTES = 64_000_000


@dataclass
class ImageAccount:
    """The outcome of every picture: used, missing, or refused and why."""

    outcome: list[str] = field(default_factory=list)
    """Per item: "used", "missing", "broken" (truncated, of no known format, unreadable), "too large", or
    "ignored" where the recipe says to look at none."""

    @property
    def used(self) -> np.ndarray:
        return np.array([what == "used" for what in self.outcome], bool)

    def to_json(self, item_ids: list[str]) -> dict[str, object]:
        """Counts that add up to the items, and the first twenty of each trouble by id."""
        counts = Counter(self.outcome)
        causes = sorted(set(counts) - {"used", "missing", "ignored"})
        return {
            "items": len(self.outcome),
            "used": counts["used"],
            "missing": counts["missing"],
            "ignored": counts["ignored"],
            "refused": {cause: counts[cause] for cause in causes},
            "examples": {c: [i for i, what in zip(item_ids, self.outcome) if what == c][:20] for c in causes},
        }


def read_picture(picture: Picture | str) -> bytes | str:
    """The encoded picture, or the outcome for the account where there is none. What this returned before stays."""
    if isinstance(picture, bytes | str):
        return picture
    try:
        if picture is None or not picture.is_file():  # neither absent ones nor pipes and devices
            return "missing"
        return "too large" if picture.stat().st_size > MAX_BYTES else picture.read_bytes()
    except OSError:
        return "broken"


def open_picture(picture: Picture | str, size: int) -> tuple[Image.Image | None, str]:
    """The first frame as RGB, its short side about `size` pixels or more, and the outcome for the account.

    Never raises for what a file holds: anything but a decodable picture is an outcome.
    """
    picture = read_picture(picture)
    if isinstance(picture, str):
        return None, picture
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            # Pillow's warnings are silenced: our own limit is stricter.
            if image.width * image.height > MAX_PIXELS:
                return None, "too large"
            image.draft("RGB", (size, size))  # a JPEG need not be decoded at full size
            image.load()
            return _on_white(image), "used"
    except Image.DecompressionBombError:
        return None, "too large"
    except Exception:  # decoders of strangers' files raise anything: struct.error, SyntaxError, zlib.error, ...
        return None, "broken"


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, as shops show it."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")
