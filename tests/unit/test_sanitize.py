"""What a Space prints must not be able to hide, move or forge what is shown."""

import random
import time

import pytest

from spaces_runner.sanitize import LINE_BYTES, clean, clean_line, clean_lines

CASES = {
    "plain text stays": (
        "Running on local URL:  http://127.0.0.1:7860\n",
        "Running on local URL:  http://127.0.0.1:7860\n",
    ),
    "tabs and letters of any script stay": ("naïve\t漢字 🤗\n", "naïve\t漢字 🤗\n"),
    "colours": ("\x1b[1;31mError\x1b[0m: no", "Error: no"),
    "clear screen hides nothing": ("stolen\n\x1b[2J\x1b[Hclean\n", "stolen\nclean\n"),
    "cursor up hides nothing": ("first\nsecond\x1b[1A\x1b[2K\rthird\n", "first\nthird\n"),
    "progress bar ends at its last state": ("  0%|\r 50%|\r100%|###\n", "100%|###\n"),
    "carriage return before the line end": ("a\r\nb\r\n", "a\nb\n"),
    "trailing carriage return keeps the text": ("100%\r", "100%"),
    "backspaces": ("1/9\b\b\b2/9\n", "2/9\n"),
    "window title": ("\x1b]0;rm -rf\x07shown", "shown"),
    "hyperlink keeps its text only": ("\x1b]8;;https://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
    "string that never ends shows its text": ("\x1b]0;abc\nnext", "0;abc\nnext"),
    "device control": ("\x1bP1$qm\x1b\\x", "x"),
    "application command": ("\x1b_Gf=100;AAAA\x1b\\x", "x"),
    "eight-bit introducer": ("\x9b31mred\x9d0;t\x9cx", "redx"),
    "charset switch and reset": ("\x1b(0lqk\x1bc", "lqk"),
    "sequence made by removing one": ("\x1b\x1b[m[31mx", "31mx"),
    "control characters": ("a\x00b\x07c\x7fd\x85e", "abcde"),
    "bidirectional override is visible": ("gradio\u202elive", "gradio<U+202E>live"),
    "zero-width characters vanish": ("pay\u200bpal\ufeff\u00ad", "paypal"),
    "line separators do not break lines": ("a\u2028b", "a<U+2028>b"),
    "lone surrogate": ("a\udce9b", "a\ufffdb"),
    "invalid UTF-8": (b"caf\xe9\n", "caf\ufffd\n"),
    "truncated UTF-8": (b"\xf0\x9f\xa4", "\ufffd"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("raw", "shown"), CASES.values(), ids=CASES)
def test_clean(raw: str | bytes, shown: str) -> None:
    assert clean(raw) == shown
    assert clean(shown) == shown


def test_a_long_line_is_cut_and_says_so() -> None:
    line = clean("ü" * 10_000)
    assert len(line.encode()) <= LINE_BYTES
    assert line.endswith("[20000 bytes]")
    assert clean(line) == line


def test_clean_line_is_one_line() -> None:
    assert clean_line("a\nb\n") == "a b"
    assert "\n" not in clean_line("x\n" * 10_000)
    assert len(clean_line("x\n" * 10_000).encode()) <= LINE_BYTES


def test_clean_lines() -> None:
    assert clean_lines("a\n\nb\n") == ["a", "", "b"]
    assert clean_lines("") == []


ALPHABET = [
    "\x1b",
    "[",
    "]",
    "P",
    "\\",
    "\x07",
    "\x9b",
    "\x9c",
    "\x9d",
    "\r",
    "\n",
    "\b",
    "a",
    "é",
    ";",
    "3",
    "m",
    "\u202e",
]


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_becomes_harmless_and_stays(seed: int) -> None:
    chooser = random.Random(seed)
    for _ in range(100):
        raw = "".join(chooser.choices(ALPHABET, k=60))
        shown = clean(raw)
        assert all(char.isprintable() or char in "\n\t" for char in shown), repr(raw)
        assert clean(shown) == shown, repr(raw)


@pytest.mark.parametrize(
    "unit", ["\x1b]", "\x9d", "\x1b[", "\x1b[0", "\x1bP1", "\b", "a\b", "\r", "\u202e", "\x1b[" + "0" * 50, "\x1b_\x1b"]
)
def test_time_is_linear(unit: str) -> None:
    raw = unit * (400_000 // len(unit))
    begun = time.perf_counter()
    clean(raw)
    assert time.perf_counter() - begun < 5  # a quadratic scan of this takes minutes
