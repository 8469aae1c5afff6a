"""Which token brought which text: what is told is the text that may be shown, whole and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.inference.server.tgi_answers import Pairing
from app.inference.stopping import StopScanner
from app.inference.types import Delta, Token

STOP = "##"
TEXTS = st.lists(st.sampled_from(["", "a", "b ", "#", "##", "a#", "#b", " ", "🦙", "</s>"]), max_size=12)


def token(number: int, text: str) -> Token:
    return Token(id=number, text=text, logprob=0.0, special=False)


def told(deltas: list[Delta]) -> tuple[list[tuple[int, str]], str]:
    """Number and text of each event, and what is left for the last one."""
    pairing = Pairing()
    events = [(number, text) for delta in deltas for number, _, text in pairing.add(delta)]
    return events, pairing.last()[1]


@given(TEXTS)
def test_what_an_engine_shows_is_told(texts: list[str]) -> None:
    """As our own engine does it: stop strings are held back, and cut off."""
    scanner = StopScanner([STOP])
    deltas = [
        Delta(text=scanner.feed(text), tokens=(token(number, text),))
        for number, text in enumerate(texts, 1)
        if scanner.hit is None
    ]
    if held := scanner.flush():
        deltas.append(Delta(text=held, tokens=()))
    events, left = told(deltas)
    shown = "".join(delta.text for delta in deltas)
    assert "".join(text for _, text in events) + left == shown
    assert STOP not in shown
    assert all(text for _, text in events)
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(1, len(texts) + 1))


@given(TEXTS)
def test_without_stop_strings_each_token_has_its_own_text(texts: list[str]) -> None:
    deltas = [Delta(text=text, tokens=(token(number, text),)) for number, text in enumerate(texts, 1)]
    events, left = told(deltas)
    assert events == [(number, text) for number, text in enumerate(texts, 1) if text]
    assert left == ""


@given(st.lists(st.tuples(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=3)), max_size=8))
def test_nothing_is_lost_where_texts_and_tokens_do_not_go_together(said: list[tuple[str, list[str]]]) -> None:
    """An engine elsewhere may count otherwise than we do."""
    deltas = [Delta(text=text, tokens=tuple(token(0, one) for one in tokens)) for text, tokens in said]
    events, left = told(deltas)
    assert "".join(text for _, text in events) + left == "".join(text for text, _ in said)
