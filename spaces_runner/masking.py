"""Takes secret values out of a stream of bytes, wherever the stream was cut. Pure; knows no files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

MASK = b"[secret]"
LEAST = 6  # characters; a shorter value would take words out of the log


class Masker:
    """Replaces the values it is given by `[secret]`: as they are, in base64, and quoted for URLs."""

    def __init__(self, values: Iterable[str]) -> None:
        patterns = {form for value in values if len(value) >= LEAST for form in forms(value)}
        self._patterns = sorted(patterns, key=len, reverse=True)
        self._longest = max(map(len, self._patterns), default=0)
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        """`chunk` without secrets. What may be the beginning of one is held back until the next chunk decides."""
        if not self._patterns:
            return chunk
        text = self._held + chunk
        cut = len(text) - self._open(text)
        if self._straddled(text, cut):
            text = self._replace(text)
            cut = len(text) - self._open(text)
        self._held = text[cut:]
        return self._replace(text[:cut])

    def rest(self) -> bytes:
        """What was held back, at the end of the stream."""
        held, self._held = self._held, b""
        return self._replace(held)

    def _straddled(self, text: bytes, cut: int) -> bool:
        """Whether a secret lies across the place where the end is held back; it began first, so it counts."""
        for pattern in self._patterns:
            size = len(pattern) - 1
            if pattern in text[max(0, cut - size) : cut + size]:
                return True
        return False

    def _replace(self, text: bytes) -> bytes:
        for pattern in self._patterns:
            if pattern in text:
                text = text.replace(pattern, MASK)
        return text

    def _open(self, text: bytes) -> int:
        """How many of the last bytes are the beginning of a secret."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-size:]
            if any(len(pattern) > size and pattern.startswith(tail) for pattern in self._patterns):
                return size
        return 0


def forms(value: str) -> set[bytes]:
    """The ways in which `value` may be written."""
    raw = value.encode("utf-8", "surrogateescape")
    found = {raw, quote(raw, safe="").encode(), quote_plus(raw).encode(), quote(raw).encode()}
    found |= {line for line in raw.splitlines() if len(line) >= 16}  # of a key in several lines
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found |= {encode(raw), encode(raw).rstrip(b"=")}
        found |= {core for shift in range(3) if len(core := _core(raw, shift, encode)) >= LEAST}
    return found


def _core(raw: bytes, shift: int, encode: Callable[[bytes], bytes]) -> bytes:
    """The characters of a base64 text that `raw`, `shift` bytes into it, decides alone."""
    text = encode(b"\0" * shift + raw)
    return text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
