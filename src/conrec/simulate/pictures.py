"""Product pictures that show an item's attributes, drawn with Pillow.

A leaf category is a short list of strokes in the unit square (0, 0 top left, 1, 1 bottom right): `strokes.json`. The
attributes change how it is drawn: shape its width and the thickness of its parts, colour and pattern its body,
material the surface, connection a cable with a plug, image the scene behind, store a mark in the corner.
"""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from conrec.simulate.catalogue import STORES

RGB = tuple[int, int, int]
Points = Sequence[float]

PAINT = tomllib.loads((files(__package__) / "paint.toml").read_text("utf-8"))
COLOURS, FIXED, SHADOW = (
    {name: (red, green, blue) for name, (red, green, blue) in PAINT[part].items()}
    for part in ("colours", "fixed", "shadow")
)
SHAPE, TEXTURE = PAINT["shape"], PAINT["texture"]
CABLE: RGB = (20, 20, 24)
CABLE_IN_THE_DARK: RGB = (150, 146, 150)
FLOOR = 0.84

LEAF_STROKES: dict[str, list[list[Any]]] = json.loads((files(__package__) / "strokes.json").read_text("utf-8"))
"""The strokes of each leaf category, in the order of drawing: fill, primitive, coordinates (x, y, x, y ...) and
perhaps a line width or corner radius, all in the unit square. The fill 'body' takes colour and pattern, 'trim' a darker
tone of it, 'ink', 'pale' and 'glint' are greys. Primitives: poly, oval, box (rounded), line, arc (a box that is open
below or, as 'bow', above)."""


def draw_picture(leaf: str, attributes: Mapping[str, str], size: int, rng: np.random.Generator) -> Image.Image:
    """The picture of an item, RGB, size x size pixels; `rng` moves what does not matter."""
    canvas = 2 * size  # drawn twice as large, then averaged down: smooth edges
    picture = _scene(attributes["image"], canvas, rng)
    colour = COLOURS[attributes["colour"]]
    skin = _skin(attributes["pattern"], attributes["material"], colour, canvas, rng)
    pen = ImageDraw.Draw(picture)
    pen.ellipse(_scaled((0.12, 0.8, 0.88, 0.92), canvas), fill=SHADOW[attributes["image"]])
    if attributes.get("connection") == "wired":
        _cable(pen, canvas, CABLE_IN_THE_DARK if attributes["image"] == "unsettling" else CABLE)
    shape = attributes["shape"]
    outline = _mix(colour, (20, 20, 28), 0.62)
    trim = _mix(colour, (20, 20, 28), 0.3)
    for stroke in LEAF_STROKES[leaf]:
        fill = stroke[0]
        if fill not in ("ink", "glint"):
            rim = outline if fill != "pale" else (128, 128, 132)
            _stroke(pen, rim, stroke, shape, canvas, grow=max(1, canvas // 80))
        if fill == "body":
            mask = Image.new("L", (canvas, canvas), 0)
            _stroke(ImageDraw.Draw(mask), 255, stroke, shape, canvas)
            picture.paste(skin, mask=mask)
        else:
            _stroke(pen, FIXED.get(fill, trim), stroke, shape, canvas)
    _store_mark(pen, attributes["store"], canvas)
    if attributes["image"] == "cluttered":
        _stickers(pen, canvas, rng)
    return picture.resize((size, size), Image.Resampling.BOX)


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    red, green, blue = (round((1 - share) * x + share * y) for x, y in zip(a, b))
    return red, green, blue


def _scaled(points: Points, canvas: int) -> list[float]:
    return [canvas * value for value in points]


def _stroke(
    pen: ImageDraw.ImageDraw, fill: RGB | int, stroke: list[Any], shape: str, canvas: int, grow: int = 0
) -> None:
    """One of LEAF_STROKES, stretched by the shape; `grow` pixels larger on every side."""
    _, primitive, points, extra = stroke if len(stroke) == 4 else (*stroke, 0.0)
    wider, higher, thicker = SHAPE[shape]
    x = 0.5 + (np.array(points[0::2]) - 0.5) * wider * 0.84
    y = FLOOR + (np.array(points[1::2]) - FLOOR) * higher * 0.84
    flat = (np.stack([x, y], axis=1).ravel() * canvas).tolist()
    width = max(2, round(extra * thicker * canvas)) + 2 * grow
    box = (flat[0] - grow, flat[1] - grow, flat[2] + grow, flat[3] + grow)
    if primitive == "oval":
        pen.ellipse(box, fill=fill)
    elif primitive == "box":
        pen.rounded_rectangle(box, radius=extra * canvas + grow, fill=fill)
    elif primitive in ("arc", "bow"):
        start = 180 if primitive == "arc" else 0
        pen.arc(box, start, start + 180, fill=fill, width=width)
    elif primitive == "line":
        pen.line(flat, fill=fill, width=width, joint="curve")
    else:
        pen.polygon(flat, fill=fill)
        if grow:
            pen.line([*flat, *flat[:2]], fill=fill, width=2 * grow + 1, joint="curve")


def _scene(look: str, canvas: int, rng: np.random.Generator) -> Image.Image:
    """The background: a studio, a room, a loud poster, or a dark place that watches."""
    if look == "unsettling":
        picture = _gradient((70, 8, 16), (18, 6, 12), canvas)
        pen = ImageDraw.Draw(picture)
        for angle in np.linspace(0, 2 * math.pi, 18, endpoint=False) + rng.random():
            tip = [canvas * (0.5 + 0.4 * math.cos(angle)), canvas * (0.5 + 0.4 * math.sin(angle))]
            left, right = angle - 0.12, angle + 0.12
            base = [canvas * (0.5 + 0.75 * f(side)) for side in (left, right) for f in (math.cos, math.sin)]
            pen.polygon(tip + base, fill=(8, 2, 4))
        for x, y in ((0.16, 0.2), (0.84, 0.22), (0.12, 0.6), (0.88, 0.58)):
            w = 0.06 + 0.03 * rng.random()
            pen.ellipse(_scaled((x - w, y - w / 2, x + w, y + w / 2), canvas), fill=(240, 226, 160))
            pen.ellipse(_scaled((x - w / 5, y - w / 2, x + w / 5, y + w / 2), canvas), fill=(150, 0, 0))
        return picture
    if look == "lifestyle":
        warm: RGB = ((222, 202, 176), (196, 208, 190), (208, 196, 206))[int(rng.integers(3))]
        picture = _gradient(_mix(warm, (255, 255, 255), 0.35), warm, canvas)
        pen = ImageDraw.Draw(picture)
        pen.rectangle(_scaled((0, 0.74, 1, 1), canvas), fill=(170, 132, 98))
        pen.line(_scaled((0, 0.74, 1, 0.74), canvas), fill=(240, 232, 220), width=canvas // 60)
        x, frame = 0.08 + 0.5 * rng.random(), (250, 248, 244)
        pen.rectangle(_scaled((x, 0.06, x + 0.22, 0.34), canvas), fill=(196, 224, 240), outline=frame, width=3)
        pen.line(_scaled((x + 0.11, 0.06, x + 0.11, 0.34), canvas), fill=frame, width=3)
        return picture
    if look == "cluttered":
        picture = _gradient((255, 214, 70), (255, 120, 60), canvas)
        pen = ImageDraw.Draw(picture)
        for n in range(0, 24, 2):
            angles = [2 * math.pi * (n + side) / 24 for side in (0, 1)]
            ray = [0.5, 0.5] + [0.5 + f(angle) for angle in angles for f in (math.cos, math.sin)]
            pen.polygon(_scaled(tuple(ray), canvas), fill=(255, 236, 140))
        return picture
    tint = int(rng.integers(6))
    return _gradient((252, 252, 252), (228 + tint, 232, 234), canvas)


def _gradient(top: RGB, bottom: RGB, canvas: int) -> Image.Image:
    rows = np.linspace(top, bottom, canvas)[:, None, :].repeat(canvas, axis=1)
    return Image.fromarray(rows.astype(np.uint8))


def _stickers(pen: ImageDraw.ImageDraw, canvas: int, rng: np.random.Generator) -> None:
    """Stars that shout a percentage and a ribbon of prices over everything."""
    red, white = (226, 20, 36), (255, 255, 255)
    angle = np.pi * np.arange(20) / 10
    teeth = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.tile([1.0, 0.7], 10)[:, None]
    for middle in ((0.16, 0.18), (0.86, 0.4), (0.2, 0.88)):
        x, y = np.array(middle) + 0.08 * (rng.random(2) - 0.5)
        r = 0.09 + 0.05 * rng.random()
        pen.polygon((canvas * ((x, y) + r * teeth)).ravel().tolist(), fill=red)
        slash = (x - r / 2, y + r / 3, x + r / 2, y - r / 3)
        pen.line(_scaled(slash, canvas), fill=white, width=max(1, canvas // 60))
        for side in (-r, r):
            dx, dy = x + side / 3, y + side / 4
            pen.ellipse(_scaled((dx - 0.018, dy - 0.018, dx + 0.018, dy + 0.018), canvas), fill=white)
    pen.rectangle(_scaled((0.0, 0.93, 1.0, 1.0), canvas), fill=red)
    for n in range(9):
        pen.rectangle(_scaled((0.06 + 0.1 * n, 0.95, 0.12 + 0.1 * n, 0.98), canvas), fill=(255, 240, 120))


def _cable(pen: ImageDraw.ImageDraw, canvas: int, colour: RGB) -> None:
    """A cable from the product to a plug in the lower right corner (a Bezier curve)."""
    t = np.linspace(0, 1, 24)[:, None]
    corners = np.array([(0.5, 0.82), (0.56, 1.04), (0.92, 1.04), (0.905, 0.82)])
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
    pen.line((canvas * weights @ corners).ravel().tolist(), fill=colour, width=canvas // 40, joint="curve")
    pen.rectangle(_scaled((0.86, 0.73, 0.95, 0.83), canvas), fill=colour)
    for pin in (0.88, 0.92):
        pen.rectangle(_scaled((pin, 0.68, pin + 0.015, 0.74), canvas), fill=(120, 120, 126))


def _store_mark(pen: ImageDraw.ImageDraw, store: str, canvas: int) -> None:
    """A two-coloured mark in the upper right corner, another for each store."""
    number = STORES.index(store)
    palette = list(COLOURS.values())
    outer, inner = palette[number % len(palette)], palette[(number // len(palette) * 3 + number + 4) % len(palette)]
    pen.rounded_rectangle(_scaled((0.84, 0.03, 0.97, 0.16), canvas), radius=canvas * 0.03, fill=outer)
    box = _scaled((0.875, 0.065, 0.935, 0.125), canvas)
    (pen.ellipse if number % 2 else pen.rectangle)(box, fill=inner)


def _skin(pattern: str, material: str, colour: RGB, canvas: int, rng: np.random.Generator) -> Image.Image:
    """The body's surface over the whole canvas: colour, pattern, material, light from the left."""
    bright = sum(colour) > 480
    second = _mix(colour, (30, 30, 44), 0.5) if bright else _mix(colour, (255, 255, 255), 0.6)
    skin = Image.new("RGB", (canvas, canvas), colour)
    pen = ImageDraw.Draw(skin)
    unit = canvas / 16

    def disc(x: float, y: float, r: float, fill: RGB) -> None:
        pen.ellipse(((x - r) * unit, (y - r) * unit, (x + r) * unit, (y + r) * unit), fill=fill)

    if pattern == "striped":
        for n in range(0, 16, 2):
            pen.rectangle((n * unit, 0, (n + 0.9) * unit, canvas), fill=second)
    elif pattern == "checked":
        for n in range(16):
            for m in range(n % 2, 16, 2):
                pen.rectangle((n * unit, m * unit, (n + 1) * unit - 1, (m + 1) * unit - 1), fill=second)
    elif pattern == "dotted":
        for n, m in product(range(12), range(12)):
            disc(1.5 * n + 0.75 * (m % 2), 1.4 * m, 0.38, second)
    elif pattern == "floral":
        for n, m in product(range(7), range(7)):
            x, y = 2.6 * n + 1.3 * (m % 2), 2.4 * m + 0.6
            for angle in np.arange(5) * 2 * math.pi / 5:
                disc(x + 0.55 * math.cos(angle), y + 0.55 * math.sin(angle), 0.45, second)
            disc(x, y, 0.35, (240, 190, 40))
    elif pattern == "leopard":
        spot = _mix(colour, (70, 40, 20), 0.45)
        for n, m in product(range(11), range(11)):
            dx, dy, dw, dh = rng.random(4)
            x, y = (1.6 * n + 0.8 * (m % 2) + 0.5 * dx - 0.25) * unit, (1.5 * m + 0.5 * dy - 0.25) * unit
            w, h = (0.4 + 0.25 * dw) * unit, (0.35 + 0.2 * dh) * unit
            box, start = (x - w, y - h, x + w, y + h), int(rng.integers(360))
            pen.ellipse(box, fill=spot)
            pen.arc(box, start, start + 270, fill=(34, 22, 18), width=max(1, round(0.26 * unit)))
    texture = next(name for name, materials in TEXTURE.items() if material in materials)
    pixels = np.asarray(skin, dtype=np.float32) * _light(texture, canvas)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@cache
def _light(texture: str, canvas: int) -> np.ndarray:
    """float32 [canvas, canvas, 1]: the material's texture and a soft light from the upper left, 1 = as is."""
    y, x = np.mgrid[0:canvas, 0:canvas] / canvas
    light = 1.12 - 0.3 * x - 0.08 * y
    if texture == "grain":
        light = light + 0.2 * (np.random.default_rng(0).random((canvas, canvas)) - 0.5)
    elif texture == "weave":
        light = light - 0.1 * ((x * canvas % 6 < 2) | (y * canvas % 6 < 2))
    elif texture == "planks":
        light = light + 0.08 * np.sin(2 * math.pi * (8 * y + 0.4 * np.sin(5 * x))) - 0.12 * (y * 6 % 1 < 0.08)
    else:
        light = light + 0.38 * np.exp(-(((x - 0.32 + 0.25 * y) / 0.06) ** 2))
    return light[:, :, None].astype(np.float32)
