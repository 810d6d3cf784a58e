"""Pictures of items as small thumbnails, for the report and for the service's page.

Pictures come from strangers: only a few well-known formats are opened, only regular files of sane size, and only
after the declared number of pixels was checked; what is shown is always our own re-encoding, never their bytes.
"""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image, ImageOps

SIDE = 96
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_BYTES = 20_000_000
MAX_PIXELS = 40_000_000


@dataclass(frozen=True)
class Picture:
    """A thumbnail (JPEG) with its size in pixels, or the reason why there is none."""

    state: Literal["shown", "missing", "broken"]
    jpeg: bytes = b""
    width: int = 0
    height: int = 0

    @property
    def uri(self) -> str:
        """The thumbnail as a data URI; empty where there is none."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode('ascii')}" if self.jpeg else ""


def thumbnail(source: str | bytes | None, folder: Path, side: int = SIDE) -> Picture:
    """The picture of an item, at most `side` pixels on its longer side.

    `source` is a path relative to `folder` (or absolute), the file's bytes, or None. Never raises for a bad picture:
    one that is not there is `missing`, one that cannot be read is `broken`.
    """
    if source is None or source in ("", b""):
        return Picture("missing")
    try:
        if isinstance(source, str):
            path = folder / source
            if not path.is_file():  # also keeps devices and pipes out
                return Picture("missing")
            if path.stat().st_size > MAX_BYTES:
                return Picture("broken")
            source = path.read_bytes()
        return _reencoded(source, side)
    except Exception:  # decoders of strangers' files raise anything: struct.error, SyntaxError, zlib.error, ...
        return Picture("broken")


def _reencoded(data: bytes, side: int) -> Picture:
    """Our own JPEG of the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            return Picture("broken")
        image.draft("RGB", (2 * side, 2 * side))  # lets the JPEG decoder skip detail
        image = ImageOps.exif_transpose(image)
        image.thumbnail((side, side))
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        image = image.convert("RGB")
    image.info.clear()  # comments and profiles would be written again
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70, optimize=True)
    return Picture("shown", file.getvalue(), image.width, image.height)
