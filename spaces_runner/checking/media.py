"""The smallest picture and the shortest sound that every library reads."""

from __future__ import annotations

import base64
import io
import struct
import wave
import zlib

from spaces_runner.checking.endpoints import Media

_SIDE = 64  # pixels
_RATE = 16_000  # Hz; a quarter of a second


def name(media: Media) -> str:
    return "check.png" if media is Media.IMAGE else "check.wav"


def kind(media: Media) -> str:
    """The MIME type."""
    return "image/png" if media is Media.IMAGE else "audio/wav"


def content(media: Media) -> bytes:
    return _png() if media is Media.IMAGE else _wav()


def data_url(media: Media) -> str:
    return f"data:{kind(media)};base64,{base64.b64encode(content(media)).decode()}"


def _png() -> bytes:
    """A grey square in RGB. https://www.w3.org/TR/png-3/"""
    rows = (b"\0" + b"\x80" * (3 * _SIDE)) * _SIDE
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(tag, data) for tag, data in parts)


def _chunk(tag: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def _wav() -> bytes:
    """Silence, one channel, 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        sound.writeframes(b"\0\0" * (_RATE // 4))
    return file.getvalue()
