"""Pictures of items as small inlined thumbnails.

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
    """A thumbnail as a data URI with its size in pixels, or the reason why there is none."""

    state: Literal["shown", "missing", "broken"]
    uri: str = ""
    width: int = 0
    height: int = 0


def thumbnail(source: str | bytes | None, folder: Path) -> Picture:
    """The picture of an item, at most `SIDE` pixels on its longer side.

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
        return _reencoded(source)
    except Exception:  # decoders of strangers' files raise anything: struct.error, SyntaxError, zlib.error, ...
        return Picture("broken")


def _reencoded(data: bytes) -> Picture:
    """Our own JPEG of the picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            return Picture("broken")
        image.draft("RGB", (2 * SIDE, 2 * SIDE))  # lets the JPEG decoder skip detail
        image = ImageOps.exif_transpose(image)
        image.thumbnail((SIDE, SIDE))
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        image = image.convert("RGB")
    image.info.clear()  # comments and profiles would be written again
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70, optimize=True)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return Picture("shown", f"data:image/jpeg;base64,{text}", image.width, image.height)
