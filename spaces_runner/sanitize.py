"""Bytes or text that a Space printed -> harmless text. Pure; knows neither files nor screens.

A log is hostile input: `ESC [2J` can wipe what stood before it, `\\r` can overwrite it, a bidirectional override can
turn a link around. What comes out holds no control characters but tabs and `\\n`, and is the same when cleaned again.
Every pattern looks at a character a bounded number of times, so the time is linear in the input.
"""

from __future__ import annotations

import re

LINE_BYTES = 8 * 1024  # a line in UTF-8, its mark of what was cut included

# ECMA-48 control sequences. A string (OSC, DCS, SOS, PM, APC) counts only when it ends on its own line: an open one
# would let a Space hide everything that follows. Bodies exclude every introducer, which keeps the scan linear.
_STRING = r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x00-\x08\x0a-\x1f\x7f-\x9f]*+(?:\x07|\x1b\\|\x9c)"
_CSI = r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"
_ESCAPE = r"\x1b[ -/]*+[0-OQ-WYZ\\`-~]"  # two or three characters; not those that open a string or a CSI
_SEQUENCE = re.compile(f"{_STRING}|{_CSI}|{_ESCAPE}")
_INTRODUCER = re.compile(r"\x1b[\[\]PX^_]?")  # of a sequence that never ended: its text is shown
_CONTROL = re.compile("[\x00-\x07\x0b-\x1f\x7f-\x9f]")  # not \b, \t, \n
# Characters that draw nothing: soft hyphen, zero-width marks, invisible operators, annotations, tags, the BOM.
_INVISIBLE = re.compile("[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200d\u2060-\u2064\u206a-\u206f"
                        "\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]")  # fmt: skip
_BIDI = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(raw: str | bytes) -> str:
    """`raw` as harmless text: lines end in `\\n`, progress bars are at their last state, no line exceeds 8 KiB."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    text = text.replace("\r\n", "\n")
    if "\x1b" in text or not text.isascii():
        text = _INTRODUCER.sub("", _SEQUENCE.sub("", text))
    text = "\n".join([_last_state(line) for line in text.split("\n")])
    text = _CONTROL.sub("", text)
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", _BIDI.sub(_visible, _INVISIBLE.sub("", text)))
    return "\n".join([_capped(line) for line in text.split("\n")])


def clean_line(raw: str | bytes) -> str:
    """`raw` as one harmless line without its end; a line end inside it becomes a space."""
    return _capped(" ".join(clean(raw).rstrip("\n").split("\n")))


def clean_lines(raw: str | bytes) -> list[str]:
    """`raw` as harmless lines without their ends."""
    text = clean(raw)
    return text.removesuffix("\n").split("\n") if text else []


def _last_state(line: str) -> str:
    """What a progress bar shows in the end: the text after the last carriage return that anything follows."""
    if "\r" in line:
        line = next((part for part in reversed(line.split("\r")) if part.strip()), "")
    return _without_backspaces(line) if "\b" in line else line


def _without_backspaces(line: str) -> str:
    kept: list[str] = []
    for char in line:
        if char != "\b":
            kept.append(char)
        elif kept:
            kept.pop()
    return "".join(kept)


def _visible(match: re.Match[str]) -> str:
    return f"<U+{ord(match.group()):04X}>"


def _capped(line: str) -> str:
    if len(line) * 4 <= LINE_BYTES:
        return line
    encoded = line.encode("utf-8")
    if len(encoded) <= LINE_BYTES:
        return line
    mark = f" ... [{len(encoded)} bytes]"
    return encoded[: LINE_BYTES - len(mark)].decode("utf-8", "ignore") + mark
