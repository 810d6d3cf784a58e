"""Thumbnails: small, re-encoded, and never a way in for a stranger's file."""

import base64
import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from conrec.report.pictures import SIDE, thumbnail
from tests.evaluate.run_folder import png


def decoded(uri: str) -> bytes:
    head, data = uri.split(",", 1)
    assert head == "data:image/jpeg;base64"
    return base64.b64decode(data)


@pytest.mark.parametrize("size", [(400, 100), (100, 400), (40, 30)])
def test_small_and_in_proportion(size, tmp_path: Path):
    Image.new("RGB", size, "green").save(tmp_path / "a.jpg")
    picture = thumbnail("a.jpg", tmp_path)
    assert picture.state == "shown"
    assert max(picture.width, picture.height) == min(SIDE, max(size))
    assert picture.width / picture.height == pytest.approx(size[0] / size[1], rel=0.05)
    assert Image.open(io.BytesIO(decoded(picture.uri))).size == (picture.width, picture.height)


def test_bytes_and_absolute_paths(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png())
    by_path = thumbnail(str(tmp_path / "a.png"), Path("/nowhere"))
    assert by_path.state == "shown"
    assert by_path == thumbnail(png(), Path("/nowhere"))


def test_transparent_parts_become_white(tmp_path: Path):
    file = io.BytesIO()
    Image.new("RGBA", (50, 50), (0, 0, 0, 0)).save(file, "PNG")
    pixel = Image.open(io.BytesIO(decoded(thumbnail(file.getvalue(), tmp_path).uri))).getpixel((25, 25))
    assert min(pixel) > 250


def test_nothing_of_the_file_but_its_pixels_is_kept():
    file = io.BytesIO()
    image = Image.new("RGB", (50, 50))
    image.save(file, "JPEG", comment=b"<script>secret</script>")
    kept = decoded(thumbnail(file.getvalue() + b"trailing secret", Path(".")).uri)
    assert b"secret" not in kept


@pytest.mark.parametrize("source", [None, "", b"", "gone.jpg", ".", "/dev/zero", "a\0b"])
def test_no_picture(source, tmp_path: Path):
    assert thumbnail(source, tmp_path).state in ("missing", "broken")
    assert thumbnail(source, tmp_path).uri == ""


def test_a_pipe_does_not_block(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert thumbnail("pipe", tmp_path).state == "missing"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    "data",
    [
        b"not a picture",
        png()[:60],
        b"\xff\xd8\xff\xe0 broken",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        # a decompression bomb: 100,000 x 100,000 pixels declared in a few bytes
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 9_000, 9_000, 8, 2, 0, 0, 0)),
    ],
    ids=["text", "cut short", "bad jpeg", "svg", "bomb", "above our limit"],
)
def test_broken_pictures_do_not_raise(data):
    assert thumbnail(data, Path(".")).state == "broken"
