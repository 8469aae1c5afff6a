"""Takes secret values out of a stream of bytes, wherever the stream was cut. Pure; knows no files.

A long value goes wherever it stands. A short one goes where it stands as a word of its own: inside other words it would
take the log apart. One of three characters or fewer stays: such words and numbers are on every line, and what is masked
there would be guessed from the rest. Nobody can give a Space one as a secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Iterable
from urllib.parse import quote, quote_plus

MASK = b"[secret]"
LONG = 6  # bytes of what is masked inside words, too
SHORTEST = 4  # characters of what is masked at all
_IN_WORD = rb"[0-9A-Za-z_\x80-\xff]"  # of UTF-8, every byte that is not ASCII


class Masker:
    """Replaces the values it is given by `[secret]`: as they are, in base64, and quoted for URLs."""

    def __init__(self, values: Iterable[str]) -> None:
        known = {form for value in values if len(value) >= SHORTEST for form in forms(value)}
        self._anywhere = _Anywhere([form for form in known if len(form) >= LONG])
        self._alone = _Alone([form for form in known if len(form) < LONG])

    def feed(self, chunk: bytes) -> bytes:
        """`chunk` without secrets. What may be the beginning of one is held back until the next chunk decides."""
        return self._alone.feed(self._anywhere.feed(chunk))

    def rest(self) -> bytes:
        """What was held back, at the end of the stream."""
        return self._alone.feed(self._anywhere.rest()) + self._alone.rest()


class _Anywhere:
    """Long values, whatever stands beside them."""

    def __init__(self, patterns: Collection[bytes]) -> None:
        self._patterns = sorted(patterns, key=len, reverse=True)
        self._longest = max(map(len, self._patterns), default=0)
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
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


class _Alone:
    """Short values, where no letter, digit or underscore stands beside them."""

    def __init__(self, patterns: Collection[bytes]) -> None:
        self._patterns = patterns
        self._words = re.compile(b"|".join(map(_word, sorted(patterns, key=len, reverse=True))))
        self._before, self._held = b"", b""  # the last byte that was handed on, and what was not

    def feed(self, chunk: bytes) -> bytes:
        if not self._patterns:
            return chunk
        text = self._held + chunk
        return self._masked(text, len(text) - self._open(text))

    def rest(self) -> bytes:
        return self._masked(self._held, len(self._held))

    def _masked(self, text: bytes, cut: int) -> bytes:
        """`text` up to `cut` without secrets, whose ends show in what stands around it. The rest is held back."""
        seen, done = self._before + text, len(self._before)
        cut += done
        pieces = []
        for word in self._words.finditer(seen, done) if any(one in text for one in self._patterns) else ():
            if word.start() >= cut:
                break
            pieces += [seen[done : word.start()], MASK]
            done = word.end()
        cut = max(cut, done)
        pieces.append(seen[done:cut])
        self._before, self._held = seen[max(0, cut - 1) : cut], seen[cut:]
        return b"".join(pieces)

    def _open(self, text: bytes) -> int:
        """How many of the last bytes are the beginning of a secret, or all of one whose end does not show yet."""
        for size in range(min(LONG - 1, len(text)), 0, -1):
            if any(pattern.startswith(text[-size:]) for pattern in self._patterns):
                return size
        return 0


def _word(pattern: bytes) -> bytes:
    """A regular expression of `pattern` that is no part of a longer word."""
    plain = re.escape(pattern)  # stands first, which is what makes the search quick
    before = rb"(?<!" + _IN_WORD + plain + rb")" if re.match(_IN_WORD, pattern[:1]) else b""
    after = rb"(?!" + _IN_WORD + rb")" if re.match(_IN_WORD, pattern[-1:]) else b""
    return plain + before + after


def forms(value: str) -> set[bytes]:
    """The ways in which `value` may be written."""
    raw = value.encode("utf-8", "surrogateescape")
    found = {raw, quote(raw, safe="").encode(), quote_plus(raw).encode(), quote(raw).encode()}
    found |= {line for line in raw.splitlines() if len(line) >= 16}  # of a key in several lines
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        found |= {encode(raw), encode(raw).rstrip(b"=")}
        found |= {core for shift in range(3) if len(core := _core(raw, shift, encode)) >= LONG}
    return found


def _core(raw: bytes, shift: int, encode: Callable[[bytes], bytes]) -> bytes:
    """The characters of a base64 text that `raw`, `shift` bytes into it, decides alone."""
    text = encode(b"\0" * shift + raw)
    return text[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]
