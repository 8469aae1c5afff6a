"""Stop strings: found across borders, never shown in part, and nothing else is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.inference.stopping import StopScanner

letters = st.text(alphabet="ab#", max_size=30)
stops = st.lists(st.text(alphabet="ab#", min_size=1, max_size=4), max_size=4)


def scanned(pieces: list[str], stop: list[str]) -> tuple[list[str], str | None]:
    scanner = StopScanner(stop)
    shown = [scanner.feed(piece) for piece in pieces]
    if scanner.hit is None:
        shown.append(scanner.flush())
    return shown, scanner.hit


def reference(text: str, stop: list[str]) -> tuple[str, str | None]:
    """Character by character: the first end of a stop string counts, of those the longest."""
    for end in range(len(text) + 1):
        for found in sorted(stop, key=len, reverse=True):
            if text[:end].endswith(found):
                return text[: end - len(found)], found
    return text, None


@given(letters, stops, st.lists(st.integers(0, 30)))
def test_it_does_not_matter_in_which_pieces_text_comes(text: str, stop: list[str], cuts: list[int]) -> None:
    borders = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[low:high] for low, high in pairwise(borders)] or [text]
    shown, hit = scanned(pieces, stop)
    assert ("".join(shown), hit) == reference(text, stop)


@given(letters, stops)
def test_what_was_shown_never_has_to_be_taken_back(text: str, stop: list[str]) -> None:
    final, _ = reference(text, stop)
    scanner, shown = StopScanner(stop), ""
    for letter in text:
        shown += scanner.feed(letter)
        assert final.startswith(shown)


@given(st.text(max_size=50))
def test_without_stops_nothing_is_held_back(text: str) -> None:
    assert [StopScanner(()).feed(letter) for letter in text] == list(text)


def test_a_false_beginning_is_shown_as_soon_as_it_is_one() -> None:
    scanner = StopScanner(["### Human:"])
    assert [scanner.feed(piece) for piece in ("Hi", "\n##", "# ", "Header")] == ["Hi", "\n", "", "### Header"]
    assert scanner.feed("### Hu") == ""
    assert scanner.feed("man: and more") == ""
    assert scanner.hit == "### Human:"
    assert scanner.feed("more") == ""
