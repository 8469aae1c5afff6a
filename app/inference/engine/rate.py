"""How fast an engine works, and so how long a queue takes. Pure."""

from __future__ import annotations

import math

_MEMORY = 10.0  # seconds: what was longer ago hardly counts
_LONGEST = 120  # seconds: more is a guess


class Rate:
    """Tokens per second, computed and generated, of the time in which there was something to do."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        kept = math.exp(-seconds / _MEMORY)
        self._tokens = self._tokens * kept + tokens
        self._seconds = self._seconds * kept + seconds

    def wait(self, tokens: int) -> int:
        """Whole seconds until so many tokens are done: at least 1."""
        if self._seconds == 0 or self._tokens == 0:
            return 1
        return max(1, min(_LONGEST, math.ceil(tokens * self._seconds / self._tokens)))
