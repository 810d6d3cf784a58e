"""Whatever a file holds, opening it ends in a picture or in a named outcome."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from conrec.items.image import HogEncoder, features
from conrec.items.pictures import open_picture


def encoded(colour: str = "red", size: tuple[int, int] = (80, 60), form: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, form)
    return buffer.getvalue()


def bomb(side: int, text: int = 0) -> bytes:
    """A PNG of a few bytes whose header claims side x side pixels; with `text` bytes of compressed text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(text))) if text else b""
    body += chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def noisy(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (90, 70, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def test_outcomes(tmp_path: Path) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(encoded())
    assert open_picture(good, 64)[1] == "used"
    assert open_picture(encoded(form="JPEG"), 64)[1] == "used"
    assert open_picture(None, 64) == (None, "missing")
    assert open_picture(tmp_path / "nowhere.png", 64) == (None, "missing")
    assert open_picture(tmp_path, 64) == (None, "missing")
    assert open_picture(b"", 64) == (None, "broken")
    assert open_picture(b"<svg onload=alert(1)>", 64) == (None, "broken")
    text = tmp_path / "text.png"
    text.write_text("This is no picture.")
    assert open_picture(text, 64) == (None, "broken")
    assert open_picture(noisy(0)[:1500], 64) == (None, "broken")


def test_decompression_bombs_are_never_decoded() -> None:
    assert open_picture(bomb(10_000), 64) == (None, "too large")
    assert open_picture(bomb(60_000), 64) == (None, "too large")
    assert open_picture(bomb(20, text=100_000_000), 64) == (None, "broken")


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_whatever_raise(junk: bytes, where: int) -> None:
    picture = noisy(1)
    assert open_picture(junk, 64)[1] in {"broken", "used"}
    assert open_picture(picture[:where] + junk + picture[where + len(junk) :], 64)[1] in {
        "broken",
        "used",
        "too large",
    }


def test_transparency_is_white() -> None:
    clear, _ = open_picture(encoded(colour="#ff000000", mode="RGBA"), 64)
    assert clear is not None
    assert clear.mode == "RGB"
    assert clear.getpixel((5, 5)) == (255, 255, 255)


def test_features_see_colour_and_shape() -> None:
    red, blue = (features(Image.new("RGB", (40, 90), colour)) for colour in ("red", "blue"))
    striped = Image.new("RGB", (64, 64), "red")
    for x in range(0, 64, 8):
        striped.paste("darkred", (x, 0, x + 4, 64))
    stripes = features(striped)
    assert red.shape == stripes.shape == (464,)
    assert red @ blue < red @ stripes
    assert not np.allclose(stripes[:288], red[:288])


def test_hog_encoder_counts_and_zeroes_what_it_cannot_use() -> None:
    pictures = [noisy(n) for n in range(8)] + [None, b"junk", bomb(60_000), encoded()]
    encoder = HogEncoder(4)
    encoder.fit(pictures)
    vectors, account = encoder.encode_images(pictures)
    assert vectors.shape == (12, 4)
    assert vectors.dtype == np.float32
    assert account.outcome[8:] == ["missing", "broken", "too large", "used"]
    assert not vectors[8:11].any()
    assert vectors[account.used].any(axis=1).all()
    report = account.to_json([f"i{n}" for n in range(12)])
    assert report["used"] == 9
    assert report["missing"] == 1
    assert report["refused"] == {"broken": 1, "too large": 1}
    assert report["examples"] == {"broken": ["i9"], "too large": ["i10"]}


def test_hog_encoder_without_any_picture() -> None:
    encoder = HogEncoder(4)
    encoder.fit([None, b"junk"])
    vectors, account = encoder.encode_images([None, encoded()])
    assert not vectors.any()
    assert account.used.tolist() == [False, True]
