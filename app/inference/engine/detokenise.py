"""Token ids to text, one at a time, never in the middle of a character. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what tokenizers decode a part of a character to
LONGEST_CHARACTER = 4  # tokens: UTF-8 needs four bytes at most
CONTEXT = 6  # tokens that tell the decoder what came before: a word's first space depends on it


class TextStream:
    """The text that tokens add to a prompt.

    A token's text depends on its neighbours (spaces of words, bytes of characters), so each is decoded together with
    a few before it, cut where a character ended.
    """

    def __init__(self, decode: Decode, prompt: Sequence[int]) -> None:
        self._decode = decode
        self._ids = _context(decode, prompt)
        self._borders = [len(self._ids)]  # where characters ended; the text up to the last of them is out
        self._before = decode(self._ids)

    def push(self, token: int) -> str:
        """What this token adds; "" while a character is not whole."""
        self._ids.append(token)
        whole = self._decode(self._ids)
        if not whole.endswith(UNFINISHED):
            return self._advance(len(self._ids), whole)
        if len(self._ids) - self._borders[-1] < 2 * LONGEST_CHARACTER:
            return ""
        end = len(self._ids) - LONGEST_CHARACTER + 1  # what is before will never be a character
        return self._advance(end, self._decode(self._ids[:end]))

    def flush(self) -> str:
        """What is left when nothing more comes: the parts of a character that was never whole."""
        return self._advance(len(self._ids), self._decode(self._ids))

    def _advance(self, end: int, text: str) -> str:
        added = text[len(self._before) :]
        self._borders.append(end)
        cut = max((border for border in self._borders if border <= end - CONTEXT), default=0)
        self._ids = self._ids[cut:]
        self._borders = [border - cut for border in self._borders if border >= cut]
        self._before = self._decode(self._ids[: end - cut])
        return added


def _context(decode: Decode, prompt: Sequence[int]) -> list[int]:
    """The last tokens of a prompt, from the beginning of a character on."""
    least, most = CONTEXT, CONTEXT + LONGEST_CHARACTER
    for count in range(least, most):
        if not decode(prompt[-count:]).startswith(UNFINISHED):
            return list(prompt[-count:])
    return list(prompt[-least:])
