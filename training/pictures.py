"""Pictures of one coloured shape, drawn from their description. Pure."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from training.facts import Split, read

SIDE = 48  # pixels
FINE = 2  # points drawn along each side of a pixel
Field = npt.NDArray[np.floating[Any]]

# Whether a point belongs to the shape: x to the right, y downwards, in radii from the middle.
SHAPES: Mapping[str, Callable[[Field, Field], npt.NDArray[np.bool_]]] = {
    "circle": lambda x, y: x * x + y * y < 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) < 0.85,
    "triangle": lambda x, y: (y < 0.7) & (y > 2 * abs(x) - 1),
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) < 0.28) & (np.maximum(abs(x), abs(y)) < 1),
    "ring": lambda x, y: (x * x + y * y < 1) & (x * x + y * y > 0.36),
    "bar": lambda x, y: (abs(x) < 1) & (abs(y) < 0.28),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is seen, and where: `radius` and the middle (`x`, `y`, from the picture's own) in pixels."""

    shape: str
    colour: str
    background: str
    radius: int
    x: int
    y: int
    tint: tuple[int, int, int]  # added to the colour, so that no two reds are the same
    shade: int  # added to the background

    @property
    def hash(self) -> str:
        return hashlib.sha256(pixels([self]).tobytes()).hexdigest()[:16]

    def image(self) -> Image.Image:
        return Image.fromarray(pixels([self])[0])

    def png(self) -> bytes:
        held = io.BytesIO()
        self.image().save(held, "png")
        return held.getvalue()


def picture(rng: random.Random, split: Split) -> Picture:
    """One of the split: which split it belongs to is said by its own description."""
    names = read("pictures.toml")
    while True:
        drawn = Picture(
            shape=rng.choice(list(SHAPES)),
            colour=rng.choice(list(names["colours"])),
            background=rng.choice(list(names["backgrounds"])),
            radius=rng.randint(13, 19),
            x=rng.randint(-4, 4),
            y=rng.randint(-4, 4),
            tint=(rng.randint(-14, 14), rng.randint(-14, 14), rng.randint(-14, 14)),
            shade=rng.randint(-10, 10),
        )
        if split_of(drawn) == split:
            return drawn


def split_of(drawn: Picture) -> Split:
    first = hashlib.sha256(repr(drawn).encode()).digest()[0]
    if first < 24:
        return "test"
    return "dev" if first < 32 else "train"


def pixels(drawn: Sequence[Picture]) -> npt.NDArray[np.uint8]:
    """[pictures, SIDE, SIDE, 3], red, green, blue."""
    names = read("pictures.toml")
    points = ((np.arange(SIDE * FINE, dtype=np.float32) + 0.5) / FINE - SIDE / 2)[None]
    covers = np.stack([cover(each, points) for each in drawn])[..., None]
    ink = np.array([np.add(names["colours"][each.colour], each.tint) for each in drawn])[:, None, None]
    paper = np.array([np.add(names["backgrounds"][each.background], each.shade) for each in drawn])[:, None, None]
    shown: npt.NDArray[np.uint8] = np.clip(covers * ink + (1 - covers) * paper, 0, 255).astype(np.uint8)
    return shown


def cover(drawn: Picture, points: Field) -> Field:
    """[SIDE, SIDE]: how much of each pixel the shape covers."""
    inside = SHAPES[drawn.shape]((points - drawn.x) / drawn.radius, (points.T - drawn.y) / drawn.radius)
    whole = np.broadcast_to(inside, (SIDE * FINE, SIDE * FINE)).astype(np.float32)
    covered: Field = whole.reshape(SIDE, FINE, SIDE, FINE).mean(axis=(1, 3))
    return covered
