"""Product pictures that show an item's attributes, drawn with Pillow.

A leaf category is a short list of strokes in the unit square (0, 0 top left, 1, 1 bottom right). The attributes
change how it is drawn: shape its width and the thickness of its parts, colour and pattern its body, material the
surface, connection a cable with a plug, image the scene behind, store a mark in the corner.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from conrec.simulate.catalogue import STORES

RGB = tuple[int, int, int]
Points = tuple[float, ...]
Stroke = tuple[str, str, Points] | tuple[str, str, Points, float]
"""(fill, primitive, coordinates[, line width or corner radius]). The fill 'body' takes colour and pattern, 'trim' a
darker tone of it, 'ink', 'pale' and 'glint' are greys. Primitives: poly, oval, box (rounded), line, arc (a box
that is open below or, as 'bow', above)."""

COLOURS: dict[str, RGB] = {
    "black": (52, 52, 60),
    "white": (240, 238, 232),
    "red": (208, 52, 58),
    "blue": (58, 104, 200),
    "green": (72, 158, 86),
    "yellow": (240, 196, 58),
    "pink": (240, 138, 172),
    "purple": (138, 86, 182),
    "brown": (140, 94, 62),
    "teal": (40, 152, 152),
}
FIXED: dict[str, RGB] = {"ink": (44, 44, 52), "pale": (226, 226, 222), "glint": (250, 250, 250)}
CABLE: RGB = (20, 20, 24)
CABLE_IN_THE_DARK: RGB = (150, 146, 150)
SHADOW: dict[str, RGB] = {
    "clean": (186, 188, 190),
    "lifestyle": (136, 104, 78),
    "cluttered": (216, 132, 44),
    "unsettling": (30, 12, 16),
}
WIDTH = {"slim": 0.62, "classic": 0.93, "bulky": 1.24}
HEIGHT = {"slim": 0.92, "classic": 0.95, "bulky": 1.14}
THICKNESS = {"slim": 0.6, "classic": 1.0, "bulky": 1.9}
TEXTURE = {
    "grain": ("leather", "suede", "wool", "felt", "velvet"),
    "weave": ("canvas", "mesh", "fabric", "straw", "nylon", "denim", "linen", "cotton", "rattan"),
    "planks": ("wood", "bamboo"),
    "gloss": ("plastic", "metal", "steel", "ceramic", "glass", "rubber", "resin", "silk"),
}
FLOOR = 0.84
"""Where things stand."""

LEAF_STROKES: dict[str, list[Stroke]] = {
    "footwear/sneakers": [
        ("body", "poly", (0.16, 0.42, 0.3, 0.36, 0.4, 0.48, 0.6, 0.54, 0.84, 0.62, 0.88, 0.74, 0.14, 0.74)),
        ("pale", "box", (0.12, 0.72, 0.9, 0.82), 0.05),
        ("glint", "line", (0.42, 0.47, 0.36, 0.56), 0.022),
        ("glint", "line", (0.5, 0.5, 0.44, 0.59), 0.022),
        ("glint", "line", (0.58, 0.53, 0.52, 0.62), 0.022),
        ("trim", "poly", (0.15, 0.5, 0.25, 0.5, 0.28, 0.74, 0.14, 0.74)),
    ],
    "footwear/boots": [
        ("body", "poly", (0.28, 0.16, 0.58, 0.16, 0.58, 0.54, 0.82, 0.62, 0.86, 0.76, 0.26, 0.76)),
        ("trim", "box", (0.27, 0.14, 0.59, 0.23), 0.03),
        ("ink", "box", (0.24, 0.75, 0.88, 0.82), 0.02),
        ("ink", "box", (0.24, 0.78, 0.42, 0.86), 0.01),
    ],
    "footwear/sandals": [
        ("ink", "box", (0.1, 0.7, 0.9, 0.8), 0.05),
        ("body", "poly", (0.54, 0.72, 0.58, 0.54, 0.74, 0.52, 0.82, 0.72)),
        ("body", "poly", (0.16, 0.72, 0.2, 0.46, 0.34, 0.46, 0.36, 0.72)),
        ("trim", "line", (0.3, 0.5, 0.62, 0.6), 0.045),
    ],
    "footwear/loafers": [
        ("body", "poly", (0.12, 0.54, 0.24, 0.5, 0.5, 0.56, 0.66, 0.52, 0.86, 0.62, 0.9, 0.75, 0.12, 0.75)),
        ("trim", "line", (0.5, 0.57, 0.6, 0.66, 0.74, 0.57), 0.04),
        ("ink", "box", (0.11, 0.74, 0.91, 0.79), 0.02),
        ("ink", "box", (0.11, 0.76, 0.32, 0.83), 0.01),
    ],
    "footwear/slippers": [
        ("pale", "box", (0.08, 0.68, 0.92, 0.8), 0.06),
        ("body", "poly", (0.44, 0.7, 0.46, 0.54, 0.6, 0.44, 0.8, 0.48, 0.92, 0.62, 0.92, 0.72)),
        ("glint", "oval", (0.42, 0.46, 0.56, 0.6)),
    ],
    "audio/headphones": [
        ("trim", "arc", (0.2, 0.16, 0.8, 0.96), 0.07),
        ("body", "box", (0.1, 0.48, 0.3, 0.8), 0.08),
        ("body", "box", (0.7, 0.48, 0.9, 0.8), 0.08),
        ("ink", "box", (0.27, 0.52, 0.34, 0.76), 0.03),
        ("ink", "box", (0.66, 0.52, 0.73, 0.76), 0.03),
    ],
    "audio/earphones": [
        ("body", "box", (0.24, 0.4, 0.36, 0.78), 0.06),
        ("body", "oval", (0.16, 0.26, 0.42, 0.52)),
        ("body", "box", (0.64, 0.4, 0.76, 0.78), 0.06),
        ("body", "oval", (0.58, 0.26, 0.84, 0.52)),
        ("ink", "oval", (0.21, 0.32, 0.31, 0.44)),
        ("ink", "oval", (0.69, 0.32, 0.79, 0.44)),
    ],
    "audio/speakers": [
        ("body", "box", (0.26, 0.12, 0.74, 0.84), 0.06),
        ("ink", "oval", (0.34, 0.44, 0.66, 0.78)),
        ("trim", "oval", (0.42, 0.53, 0.58, 0.69)),
        ("ink", "oval", (0.42, 0.2, 0.58, 0.36)),
    ],
    "audio/microphones": [
        ("ink", "box", (0.3, 0.78, 0.7, 0.84), 0.03),
        ("trim", "line", (0.5, 0.5, 0.5, 0.8), 0.05),
        ("body", "poly", (0.38, 0.38, 0.62, 0.38, 0.57, 0.68, 0.43, 0.68)),
        ("pale", "oval", (0.34, 0.12, 0.66, 0.42)),
        ("ink", "line", (0.35, 0.27, 0.65, 0.27), 0.02),
        ("ink", "line", (0.5, 0.13, 0.5, 0.41), 0.012),
    ],
    "audio/turntables": [
        ("body", "box", (0.08, 0.4, 0.92, 0.82), 0.04),
        ("ink", "oval", (0.14, 0.43, 0.62, 0.79)),
        ("trim", "oval", (0.31, 0.55, 0.45, 0.67)),
        ("glint", "line", (0.8, 0.46, 0.78, 0.64, 0.58, 0.7), 0.03),
    ],
    "bags/backpacks": [
        ("trim", "arc", (0.38, 0.08, 0.62, 0.36), 0.05),
        ("body", "box", (0.22, 0.18, 0.78, 0.84), 0.16),
        ("trim", "box", (0.3, 0.54, 0.7, 0.78), 0.05),
        ("glint", "line", (0.34, 0.62, 0.66, 0.62), 0.018),
        ("ink", "line", (0.3, 0.42, 0.7, 0.42), 0.018),
    ],
    "bags/handbags": [
        ("trim", "arc", (0.3, 0.14, 0.7, 0.76), 0.045),
        ("body", "poly", (0.2, 0.44, 0.8, 0.44, 0.9, 0.82, 0.1, 0.82)),
        ("trim", "poly", (0.2, 0.44, 0.8, 0.44, 0.83, 0.56, 0.5, 0.66, 0.17, 0.56)),
        ("glint", "oval", (0.46, 0.58, 0.54, 0.66)),
    ],
    "bags/suitcases": [
        ("ink", "line", (0.4, 0.26, 0.4, 0.08, 0.6, 0.08, 0.6, 0.26), 0.03),
        ("body", "box", (0.24, 0.22, 0.76, 0.8), 0.07),
        ("trim", "line", (0.38, 0.26, 0.38, 0.77), 0.025),
        ("trim", "line", (0.62, 0.26, 0.62, 0.77), 0.025),
        ("ink", "oval", (0.28, 0.78, 0.38, 0.87)),
        ("ink", "oval", (0.62, 0.78, 0.72, 0.87)),
    ],
    "bags/wallets": [
        ("trim", "box", (0.14, 0.34, 0.86, 0.76), 0.05),
        ("pale", "box", (0.22, 0.3, 0.76, 0.5), 0.02),
        ("body", "box", (0.14, 0.4, 0.86, 0.8), 0.05),
        ("trim", "box", (0.68, 0.52, 0.88, 0.66), 0.04),
        ("glint", "oval", (0.71, 0.56, 0.77, 0.62)),
    ],
    "bags/totes": [
        ("trim", "arc", (0.34, 0.08, 0.66, 0.68), 0.04),
        ("body", "poly", (0.2, 0.36, 0.8, 0.36, 0.76, 0.84, 0.24, 0.84)),
        ("glint", "oval", (0.42, 0.5, 0.58, 0.66)),
    ],
    "clothing/tshirts": [
        ("body", "poly", (0.32, 0.18, 0.68, 0.18, 0.92, 0.34, 0.82, 0.5, 0.7, 0.42, 0.7, 0.84, 0.3, 0.84,
                          0.3, 0.42, 0.18, 0.5, 0.08, 0.34)),
        ("trim", "oval", (0.4, 0.12, 0.6, 0.26)),
    ],
    "clothing/hoodies": [
        ("trim", "oval", (0.32, 0.06, 0.68, 0.36)),
        ("body", "poly", (0.34, 0.22, 0.66, 0.22, 0.82, 0.3, 0.94, 0.76, 0.82, 0.8, 0.73, 0.48, 0.73, 0.84,
                          0.27, 0.84, 0.27, 0.48, 0.18, 0.8, 0.06, 0.76, 0.18, 0.3)),
        ("trim", "poly", (0.38, 0.6, 0.62, 0.6, 0.68, 0.76, 0.32, 0.76)),
        ("glint", "line", (0.45, 0.26, 0.45, 0.44), 0.018),
        ("glint", "line", (0.55, 0.26, 0.55, 0.44), 0.018),
    ],
    "clothing/trousers": [
        ("body", "poly", (0.3, 0.12, 0.7, 0.12, 0.78, 0.86, 0.57, 0.86, 0.5, 0.38, 0.43, 0.86, 0.22, 0.86)),
        ("trim", "box", (0.295, 0.12, 0.705, 0.19), 0.01),
    ],
    "clothing/skirts": [
        ("body", "poly", (0.36, 0.24, 0.64, 0.24, 0.88, 0.8, 0.7, 0.84, 0.5, 0.82, 0.3, 0.84, 0.12, 0.8)),
        ("trim", "box", (0.35, 0.2, 0.65, 0.28), 0.02),
        ("trim", "line", (0.45, 0.3, 0.38, 0.8), 0.012),
        ("trim", "line", (0.55, 0.3, 0.62, 0.8), 0.012),
    ],
    "clothing/coats": [
        ("body", "poly", (0.36, 0.12, 0.64, 0.12, 0.8, 0.2, 0.92, 0.66, 0.8, 0.7, 0.74, 0.46, 0.8, 0.88, 0.2, 0.88,
                          0.26, 0.46, 0.2, 0.7, 0.08, 0.66, 0.2, 0.2)),
        ("trim", "poly", (0.36, 0.12, 0.5, 0.4, 0.34, 0.3)),
        ("trim", "poly", (0.64, 0.12, 0.5, 0.4, 0.66, 0.3)),
        ("ink", "line", (0.5, 0.4, 0.5, 0.87), 0.014),
        ("glint", "oval", (0.53, 0.46, 0.58, 0.51)),
        ("glint", "oval", (0.53, 0.6, 0.58, 0.65)),
    ],
    "furniture/chairs": [
        ("ink", "line", (0.3, 0.56, 0.26, 0.86), 0.04),
        ("ink", "line", (0.7, 0.56, 0.74, 0.86), 0.04),
        ("body", "box", (0.3, 0.1, 0.7, 0.5), 0.08),
        ("trim", "box", (0.24, 0.5, 0.76, 0.62), 0.05),
    ],
    "furniture/tables": [
        ("trim", "line", (0.18, 0.44, 0.18, 0.86), 0.05),
        ("trim", "line", (0.82, 0.44, 0.82, 0.86), 0.05),
        ("body", "poly", (0.2, 0.32, 0.8, 0.32, 0.94, 0.46, 0.06, 0.46)),
        ("trim", "box", (0.06, 0.45, 0.94, 0.52), 0.01),
    ],
    "furniture/lamps": [
        ("ink", "box", (0.32, 0.79, 0.68, 0.85), 0.03),
        ("ink", "line", (0.5, 0.42, 0.5, 0.82), 0.035),
        ("body", "poly", (0.36, 0.12, 0.64, 0.12, 0.8, 0.46, 0.2, 0.46)),
        ("glint", "oval", (0.44, 0.43, 0.56, 0.53)),
    ],
    "furniture/shelves": [
        ("trim", "box", (0.18, 0.1, 0.82, 0.86), 0.02),
        ("pale", "box", (0.24, 0.15, 0.76, 0.36), 0.01),
        ("pale", "box", (0.24, 0.4, 0.76, 0.6), 0.01),
        ("pale", "box", (0.24, 0.64, 0.76, 0.83), 0.01),
        ("body", "box", (0.28, 0.2, 0.48, 0.36), 0.01),
        ("body", "box", (0.5, 0.44, 0.72, 0.6), 0.01),
        ("body", "box", (0.3, 0.68, 0.62, 0.83), 0.01),
    ],
    "furniture/sofas": [
        ("ink", "line", (0.16, 0.76, 0.16, 0.86), 0.04),
        ("ink", "line", (0.84, 0.76, 0.84, 0.86), 0.04),
        ("body", "box", (0.14, 0.32, 0.86, 0.72), 0.09),
        ("trim", "box", (0.18, 0.54, 0.82, 0.76), 0.04),
        ("body", "box", (0.05, 0.46, 0.2, 0.8), 0.06),
        ("body", "box", (0.8, 0.46, 0.95, 0.8), 0.06),
    ],
    "kitchen/mugs": [
        ("trim", "line", (0.66, 0.38, 0.86, 0.4, 0.88, 0.62, 0.66, 0.68), 0.055),
        ("body", "box", (0.22, 0.26, 0.7, 0.84), 0.07),
        ("ink", "oval", (0.23, 0.21, 0.69, 0.33)),
    ],
    "kitchen/kettles": [
        ("ink", "arc", (0.3, 0.1, 0.72, 0.7), 0.045),
        ("trim", "poly", (0.7, 0.5, 0.92, 0.36, 0.94, 0.42, 0.74, 0.68)),
        ("body", "poly", (0.34, 0.34, 0.66, 0.34, 0.8, 0.82, 0.2, 0.82)),
        ("trim", "oval", (0.33, 0.29, 0.67, 0.39)),
    ],
    "kitchen/pans": [
        ("ink", "line", (0.6, 0.5, 0.94, 0.3), 0.06),
        ("body", "oval", (0.06, 0.36, 0.7, 0.84)),
        ("ink", "oval", (0.13, 0.42, 0.63, 0.77)),
        ("pale", "oval", (0.27, 0.5, 0.49, 0.68)),
        ("trim", "oval", (0.33, 0.54, 0.43, 0.64)),
    ],
    "kitchen/knives": [
        ("pale", "poly", (0.44, 0.08, 0.58, 0.2, 0.6, 0.54, 0.44, 0.54)),
        ("glint", "line", (0.57, 0.22, 0.585, 0.52), 0.014),
        ("body", "box", (0.4, 0.52, 0.64, 0.88), 0.05),
        ("glint", "oval", (0.5, 0.6, 0.54, 0.64)),
        ("glint", "oval", (0.5, 0.74, 0.54, 0.78)),
    ],
    "kitchen/blenders": [
        ("trim", "box", (0.38, 0.06, 0.62, 0.14), 0.02),
        ("pale", "poly", (0.26, 0.14, 0.74, 0.14, 0.66, 0.56, 0.34, 0.56)),
        ("trim", "poly", (0.3, 0.36, 0.7, 0.36, 0.66, 0.56, 0.34, 0.56)),
        ("body", "poly", (0.32, 0.56, 0.68, 0.56, 0.76, 0.85, 0.24, 0.85)),
        ("glint", "oval", (0.46, 0.66, 0.54, 0.74)),
    ],
    "toys/bears": [
        ("body", "oval", (0.24, 0.08, 0.42, 0.26)),
        ("body", "oval", (0.58, 0.08, 0.76, 0.26)),
        ("body", "oval", (0.22, 0.44, 0.78, 0.88)),
        ("body", "oval", (0.26, 0.12, 0.74, 0.54)),
        ("pale", "oval", (0.4, 0.34, 0.6, 0.5)),
        ("ink", "oval", (0.37, 0.26, 0.43, 0.33)),
        ("ink", "oval", (0.57, 0.26, 0.63, 0.33)),
        ("ink", "oval", (0.46, 0.35, 0.54, 0.41)),
    ],
    "toys/robots": [
        ("ink", "line", (0.5, 0.06, 0.5, 0.18), 0.025),
        ("trim", "line", (0.24, 0.5, 0.12, 0.7), 0.05),
        ("trim", "line", (0.76, 0.5, 0.88, 0.7), 0.05),
        ("trim", "box", (0.32, 0.74, 0.44, 0.88), 0.02),
        ("trim", "box", (0.56, 0.74, 0.68, 0.88), 0.02),
        ("body", "box", (0.24, 0.44, 0.76, 0.78), 0.04),
        ("trim", "box", (0.3, 0.15, 0.7, 0.42), 0.05),
        ("glint", "oval", (0.36, 0.22, 0.47, 0.33)),
        ("glint", "oval", (0.53, 0.22, 0.64, 0.33)),
    ],
    "toys/blocks": [
        ("body", "box", (0.1, 0.5, 0.46, 0.84), 0.03),
        ("trim", "box", (0.52, 0.5, 0.88, 0.84), 0.03),
        ("body", "box", (0.32, 0.14, 0.68, 0.48), 0.03),
        ("glint", "oval", (0.44, 0.24, 0.56, 0.38)),
        ("glint", "poly", (0.7, 0.58, 0.8, 0.76, 0.6, 0.76)),
    ],
    "toys/cars": [
        ("trim", "poly", (0.26, 0.52, 0.36, 0.32, 0.66, 0.32, 0.78, 0.52)),
        ("pale", "poly", (0.33, 0.5, 0.39, 0.37, 0.63, 0.37, 0.71, 0.5)),
        ("body", "box", (0.06, 0.5, 0.94, 0.74), 0.08),
        ("ink", "oval", (0.16, 0.62, 0.38, 0.84)),
        ("ink", "oval", (0.62, 0.62, 0.84, 0.84)),
        ("pale", "oval", (0.23, 0.69, 0.31, 0.77)),
        ("pale", "oval", (0.69, 0.69, 0.77, 0.77)),
    ],
    "toys/balls": [
        ("body", "oval", (0.16, 0.18, 0.84, 0.86)),
        ("trim", "arc", (0.3, 0.24, 0.7, 1.4), 0.03),
        ("glint", "oval", (0.28, 0.28, 0.42, 0.4)),
    ],
    "accessories/watches": [
        ("body", "box", (0.4, 0.04, 0.6, 0.94), 0.04),
        ("ink", "oval", (0.24, 0.25, 0.76, 0.75)),
        ("glint", "oval", (0.3, 0.31, 0.7, 0.69)),
        ("ink", "line", (0.5, 0.38, 0.5, 0.5, 0.6, 0.56), 0.022),
    ],
    "accessories/sunglasses": [
        ("body", "line", (0.08, 0.4, 0.92, 0.4), 0.05),
        ("body", "oval", (0.06, 0.34, 0.47, 0.7)),
        ("body", "oval", (0.53, 0.34, 0.94, 0.7)),
        ("ink", "oval", (0.11, 0.39, 0.42, 0.65)),
        ("ink", "oval", (0.58, 0.39, 0.89, 0.65)),
        ("glint", "line", (0.18, 0.52, 0.26, 0.44), 0.02),
        ("glint", "line", (0.65, 0.52, 0.73, 0.44), 0.02),
    ],
    "accessories/hats": [
        ("trim", "oval", (0.04, 0.6, 0.96, 0.82)),
        ("body", "poly", (0.26, 0.7, 0.3, 0.34, 0.42, 0.26, 0.58, 0.26, 0.7, 0.34, 0.74, 0.7)),
        ("ink", "box", (0.265, 0.58, 0.735, 0.68), 0.01),
    ],
    "accessories/necklaces": [
        ("trim", "bow", (0.2, -0.24, 0.8, 0.64), 0.03),
        ("body", "poly", (0.5, 0.56, 0.66, 0.7, 0.5, 0.88, 0.34, 0.7)),
        ("glint", "line", (0.44, 0.7, 0.5, 0.63), 0.018),
    ],
    "accessories/umbrellas": [
        ("ink", "line", (0.5, 0.1, 0.5, 0.82, 0.58, 0.86, 0.64, 0.8), 0.03),
        ("body", "poly", (0.06, 0.5, 0.14, 0.32, 0.3, 0.19, 0.5, 0.14, 0.7, 0.19, 0.86, 0.32, 0.94, 0.5, 0.79, 0.46,
                          0.65, 0.5, 0.5, 0.46, 0.35, 0.5, 0.21, 0.46)),
        ("trim", "line", (0.5, 0.15, 0.35, 0.49), 0.012),
        ("trim", "line", (0.5, 0.15, 0.65, 0.49), 0.012),
    ],
}  # fmt: skip


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
        fill, primitive, points = stroke[:3]
        extra = stroke[3] if len(stroke) == 4 else 0.0
        if fill not in ("ink", "glint"):
            _stroke(
                pen,
                outline if fill != "pale" else (128, 128, 132),
                primitive,
                points,
                extra,
                shape,
                canvas,
                grow=max(1, canvas // 80),
            )
        if fill == "body":
            mask = Image.new("L", (canvas, canvas), 0)
            _stroke(ImageDraw.Draw(mask), 255, primitive, points, extra, shape, canvas)
            picture.paste(skin, mask=mask)
        else:
            _stroke(pen, FIXED.get(fill, trim), primitive, points, extra, shape, canvas)
    _store_mark(pen, attributes["store"], canvas)
    if attributes["image"] == "cluttered":
        _stickers(pen, canvas, rng)
    return picture.resize((size, size), Image.Resampling.BOX)


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with a share of `b`."""
    red, green, blue = (round((1 - share) * x + share * y) for x, y in zip(a, b))
    return red, green, blue


def _scaled(points: Points, canvas: int) -> list[float]:
    return [canvas * value for value in points]


def _stroke(
    pen: ImageDraw.ImageDraw,
    fill: RGB | int,
    primitive: str,
    points: Points,
    extra: float,
    shape: str,
    canvas: int,
    grow: int = 0,
) -> None:
    """One stroke, stretched by the shape; `grow` pixels larger on every side."""
    x = 0.5 + (np.array(points[0::2]) - 0.5) * WIDTH[shape] * 0.84
    y = FLOOR + (np.array(points[1::2]) - FLOOR) * HEIGHT[shape] * 0.84
    flat = (np.stack([x, y], axis=1).ravel() * canvas).tolist()
    width = max(2, round(extra * THICKNESS[shape] * canvas)) + 2 * grow
    box = (flat[0] - grow, flat[1] - grow, flat[2] + grow, flat[3] + grow)
    if primitive == "oval":
        pen.ellipse(box, fill=fill)
    elif primitive == "box":
        pen.rounded_rectangle(box, radius=extra * canvas + grow, fill=fill)
    elif primitive == "arc":
        pen.arc(box, 180, 360, fill=fill, width=width)
    elif primitive == "bow":
        pen.arc(box, 0, 180, fill=fill, width=width)
    elif primitive == "line":
        pen.line(flat, fill=fill, width=width, joint="curve")
    else:
        pen.polygon(flat, fill=fill)
        if grow:
            pen.line([*flat, *flat[:2]], fill=fill, width=2 * grow + 1, joint="curve")


# Scenes ---------------------------------------------------------------------------------------------------


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
        x = 0.08 + 0.5 * rng.random()
        pen.rectangle(
            _scaled((x, 0.06, x + 0.22, 0.34), canvas), fill=(196, 224, 240), outline=(250, 248, 244), width=3
        )
        pen.line(_scaled((x + 0.11, 0.06, x + 0.11, 0.34), canvas), fill=(250, 248, 244), width=3)
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
    if number % 2:
        pen.ellipse(box, fill=inner)
    else:
        pen.rectangle(box, fill=inner)


# Surfaces -------------------------------------------------------------------------------------------------


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
        for n in range(12):
            for m in range(12):
                disc(1.5 * n + 0.75 * (m % 2), 1.4 * m, 0.38, second)
    elif pattern == "floral":
        for n in range(7):
            for m in range(7):
                x, y = 2.6 * n + 1.3 * (m % 2), 2.4 * m + 0.6
                for angle in np.arange(5) * 2 * math.pi / 5:
                    disc(x + 0.55 * math.cos(angle), y + 0.55 * math.sin(angle), 0.45, second)
                disc(x, y, 0.35, (240, 190, 40))
    elif pattern == "leopard":
        spot = _mix(colour, (70, 40, 20), 0.45)
        for n in range(11):
            for m in range(11):
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
