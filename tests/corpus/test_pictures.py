"""Pictures of strangers, each with its right outcome: used, or left out with the cause; none opens what it must not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conrec.data.images import below
from conrec.items.pictures import open_picture
from tests.items.test_pictures import bomb, encoded, noisy

OUTSIDE, NONE = "picture outside the folder", "no picture"
CONTENTS: list[tuple[str, bytes, str]] = [
    ("png", encoded(), "used"),
    ("jpeg", noisy(0), "used"),
    ("gif", encoded(form="GIF"), "used"),
    ("webp", encoded(form="WEBP"), "used"),
    ("one pixel", encoded(size=(1, 1)), "used"),
    ("a line", encoded(size=(4000, 1)), "used"),
    ("palette", encoded(mode="P", colour=3), "used"),  # type: ignore[arg-type]
    ("grey", encoded(mode="L", colour=3), "used"),  # type: ignore[arg-type]
    ("one bit", encoded(mode="1", colour=1), "used"),  # type: ignore[arg-type]
    ("transparent", encoded(mode="RGBA", colour="#ff000000"), "used"),
    ("more behind it", encoded() + b"<?php evil(); ?>", "used"),
    ("nothing", b"", "broken"),
    ("zeros", bytes(1000), "broken"),
    ("text", b"This is no picture.", "broken"),
    ("html", b"<html>404 not found", "broken"),
    ("svg", b"<svg onload=alert(1)>", "broken"),
    ("a pointer", b"version https://git-lfs.github.com/spec/v1\nsize 3\n", "broken"),
    ("postscript", b"%!PS-Adobe-3.0\n(/etc/passwd) run\n", "broken"),
    ("pdf", b"%PDF-1.4\n", "broken"),
    ("only the magic", b"\x89PNG\r\n\x1a\n", "broken"),
    ("half a png", encoded()[:60], "broken"),
    ("half a jpeg", noisy(0)[:1500], "broken"),
    ("a wrong sum", encoded()[:-20] + bytes(20), "broken"),
    ("a header of 100 million pixels", bomb(10_000), "too large"),
    ("a header of 3,600 million pixels", bomb(60_000), "too large"),
    ("a bomb of text", bomb(20, text=100_000_000), "broken"),
]


@pytest.mark.parametrize(("content", "outcome"), [one[1:] for one in CONTENTS], ids=[one[0] for one in CONTENTS])
def test_a_picture(tmp_path: Path, content: bytes, outcome: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for source in (content, tmp_path / "a.png"):
        image, found = open_picture(source, 64)
        assert found == outcome
        assert (image is not None) == (outcome == "used")
        assert image is None or (image.mode == "RGB" and max(image.size) <= 4000)


NAMES: list[tuple[str, str | None]] = [
    ("a.png", None),
    ("sub/a.png", None),
    ("sub/../a.png", None),
    ("../secret.png", OUTSIDE),
    ("sub/../../secret.png", OUTSIDE),
    ("/etc/passwd", OUTSIDE),
    ("/dev/zero", OUTSIDE),
    ("link.png", OUTSIDE),
    ("zero.png", OUTSIDE),
    ("pipe.png", NONE),
    ("sub", NONE),
    ("", NONE),
    (".", NONE),
    ("a.png\0.txt", OUTSIDE),
    ("x" * 5000, OUTSIDE),
    ("~/a.png", NONE),
    ("$HOME/a.png", NONE),
    ("http://host/a.png", NONE),
    ("A.PNG", NONE),
    ("gone.png", NONE),
]


@pytest.mark.parametrize(("name", "cause"), NAMES, ids=[one[0][:20] for one in NAMES])
def test_a_name(tmp_path: Path, name: str, cause: str | None) -> None:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    for path in (folder / "a.png", folder / "sub" / "a.png", tmp_path / "secret.png"):
        path.write_bytes(encoded())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")  # who opens it waits for ever
    found = below(folder, name)
    assert found.cause == cause
    assert (found.file is None) == (cause is not None)


@pytest.mark.parametrize("form", ["TIFF", "PPM", "TGA", "ICO", "PCX", "EPS"])
def test_formats_of_no_shop_are_not_even_tried(form: str) -> None:
    assert open_picture(encoded(form=form), 64) == (None, "broken")
