"""Pictures of items as small thumbnails, for the report and for the service's page.

Pictures come from strangers (`items.pictures`); what is shown is always our own re-encoding, never their bytes.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import ImageOps

from conrec.items.pictures import open_picture

SIDE = 96


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
    if not source:
        return Picture("missing")
    image, outcome = open_picture(folder / source if isinstance(source, str) else source, 2 * side)
    if image is None:
        return Picture("missing" if outcome == "missing" else "broken")
    image = ImageOps.exif_transpose(image)
    image.thumbnail((side, side))
    image.info.clear()  # comments and profiles would be written again
    file = io.BytesIO()
    image.save(file, "JPEG", quality=70, optimize=True)
    return Picture("shown", file.getvalue(), image.width, image.height)
