"""Stop strings, found across the borders of tokens and never shown, not even in part. Pure."""

from __future__ import annotations

from collections.abc import Sequence


class StopScanner:
    """Text goes in as it comes; what comes out can be shown.

    The stop string that ends first counts; of two that end together, the longer. So it does not matter in which
    pieces the text comes.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""  # may be the beginning of a stop string
        self.hit: str | None = None  # the one that came up; from then on nothing is shown

    def feed(self, text: str) -> str:
        """What can be shown now."""
        if self.hit is not None:
            return ""
        text = self._held + text
        found = min(self._ends(text), default=None)
        if found is None:
            kept = self._beginning(text)
            self._held = text[len(text) - kept :]
            return text[: len(text) - kept]
        end, negative_length, self.hit = found
        self._held = ""
        return text[: end + negative_length]

    def flush(self) -> str:
        """What was held back, when nothing more comes."""
        held, self._held = self._held, ""
        return held

    def _ends(self, text: str) -> list[tuple[int, int, str]]:
        return [(text.index(stop) + len(stop), -len(stop), stop) for stop in self._stops if stop in text]

    def _beginning(self, text: str) -> int:
        """How many characters at the end of the text may begin a stop string."""
        longest = min(len(text), max(map(len, self._stops), default=1) - 1)
        for count in range(longest, 0, -1):
            if any(len(stop) > count and stop.startswith(text[-count:]) for stop in self._stops):
                return count
        return 0
