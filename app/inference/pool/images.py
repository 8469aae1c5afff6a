"""Encoded pictures to pixels in memory, within limits. Knows Pillow, no model.

What a header says of the size is believed before anything is decoded, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

from app.inference.errors import BadImage

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_BYTES = 20 * 1024**2
MAX_PIXELS = 40_000_000  # 160 MB of memory while it is decoded
MAX_RATIO = 50  # the shorter side becomes the model's, and the longer one grows with it before it is cut
# What Pillow's readers raise on bytes that are no picture; a warning, where warnings are errors.
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error, zlib.error, Warning)


def decode(data: bytes) -> Image:
    """The picture, upright, in RGB; of an animation the first frame. Raises BadImage."""
    from PIL import Image, ImageOps

    if len(data) > MAX_BYTES:
        raise BadImage(f"The picture has {len(data)} bytes; at most {MAX_BYTES} are read.", param="messages")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            _check_size(*picture.size)
            return _on_white(ImageOps.exif_transpose(picture))
    except (Image.DecompressionBombError, *_UNREADABLE) as error:
        raise BadImage(
            "The picture cannot be read.", hint=f"Send a whole {', '.join(FORMATS)} file.", param="messages"
        ) from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImage(
            f"The picture has {width} x {height} pixels; at most {MAX_PIXELS:,} are read.",
            hint="Make it smaller.",
            param="messages",
        )
    if max(width, height) > MAX_RATIO * min(width, height):
        raise BadImage(
            f"The picture has {width} x {height} pixels; one side is at most {MAX_RATIO} times the other.",
            hint="Cut out what matters.",
            param="messages",
        )


def _on_white(picture: Image) -> Image:
    """What is transparent becomes white, as a browser shows it."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layer = picture.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
