"""The text and the syntax tree of a stranger's Python file. Runs nothing of it; raises nothing but `Unreadable`.

A Space may be written for a newer Python than the runner's: what `ast` of Python 3.11 cannot read yet (quotes nested in
f-strings, type parameters) is blanked out character by character, so that every position stays that of the real text.
So are the f-strings of a long text: Python 3.11 needs time for one that grows with the square of its length.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path

MAX_BYTES = 2 * 1024**2
LONG = 64 * 1024  # characters

_FORMATTED = re.compile(r"[fF][rR]?[\"']")
_LINE_END = re.compile(r"\r\n|\r|\n")


class Unreadable(Exception):
    """The file is no Python text: not decodable, too big, or no valid syntax of Python 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A file's text with its own line ends, and what is needed to write it back unchanged."""

    text: str
    encoding: str  # a codec name; "utf-8-sig" where the file begins with a byte order mark

    def encode(self, text: str) -> bytes:
        return text.encode(self.encoding)


def read(path: Path) -> Text:
    """The text of the file at `path`, by its PEP 263 declaration. Raises Unreadable."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise Unreadable(exc.strerror or "it cannot be read") from exc
    if len(raw) > MAX_BYTES:
        raise Unreadable(f"it is larger than {MAX_BYTES // 1024**2} MiB")
    return decode(raw)


def decode(raw: bytes) -> Text:
    """`raw` as text. Raises Unreadable for bytes that its own declaration does not cover."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        return Text(text=raw.decode(encoding), encoding=encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as exc:
        raise Unreadable(f"its encoding cannot be read ({exc})") from exc


def is_file(path: Path) -> bool:
    """Whether `path` is a file. A name that no file can have (too long, with a NUL) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def parse(text: str) -> ast.Module:
    """The syntax tree of `text`. Raises Unreadable with the line of the error."""
    try:
        return _parse(blank_new_syntax(text) if len(text) > LONG and _FORMATTED.search(text) else text)
    except SyntaxError as exc:
        first = exc
    except (ValueError, RecursionError, MemoryError) as exc:  # NUL characters; nesting beyond the parser's stack
        raise Unreadable(f"it is no valid Python ({exc or 'nested too deep'})") from exc
    try:
        return _parse(blank_new_syntax(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unreadable(f"line {first.lineno}: {first.msg}") from first


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the author's "\d" is no concern of the owner
        return ast.parse(text)


class Positions:
    """Offsets in a text of the positions that `ast` gives: line numbers, and columns in UTF-8 bytes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def offset(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self._text)
        row = self._text[start:end]
        return start + (column if row.isascii() else len(row.encode()[:column].decode("utf-8", "ignore")))

    def end(self, node: ast.expr) -> int:
        return self.offset(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)


# PEP 701 (3.12) lets an f-string hold its own quotes, backslashes and comments; PEP 695 adds type parameters.

_PREFIX = r"(?<![\w\"'])[A-Za-z]{0,2}"
_TOKEN = re.compile(rf"#[^\r\n]*|({_PREFIX})(\"\"\"|'''|\"|')")
_TYPE_PARAMETERS = re.compile(r"^([ \t]*(?:async[ \t]+def|def|class)[ \t]+\w+)(\[[^\r\n]*?\])(?=[(:])", re.MULTILINE)
_TYPE_ALIAS = re.compile(r"^([ \t]*)type[ \t]+\w+[ \t]*(?:\[[^\r\n]*?\])?[ \t]*=[^=\r\n][^\r\n]*", re.MULTILINE)


def blank_new_syntax(text: str) -> str:
    """`text` with f-strings and type parameters blanked out; same length, same lines, same columns in characters."""
    pieces: list[str] = []
    at = 0
    while match := _TOKEN.search(text, at):
        pieces.append(text[at : match.start()])
        at = match.end()
        if match.group(2) is None:  # a comment
            pieces.append(match.group())
            continue
        formatted = set(match.group(1).lower()) & {"f", "t"}
        at = _string_end(text, match, bool(formatted))
        pieces.append(_blank(text[match.start() : at]) if formatted else text[match.start() : at])
    pieces.append(text[at:])
    return _blank_types("".join(pieces))


def _blank_types(text: str) -> str:
    text = _TYPE_PARAMETERS.sub(lambda found: found.group(1) + " " * len(found.group(2)), text)
    return _TYPE_ALIAS.sub(lambda found: (found.group(1) + "pass").ljust(len(found.group())), text)


def _string_end(text: str, opening: re.Match[str], formatted: bool) -> int:
    """Where the string that `opening` begins ends; the text's end when it never does."""
    quote = opening.group(2)
    # A backslash does not escape a brace, and the braces of \\N{DASH} hold no expression.
    escapes = r"\\N\{[^{}]*\}|\\[^{}]|\{\{|\{" if formatted else r"\\."
    step = re.compile(f"{escapes}|{quote}", re.DOTALL)
    at = opening.end()
    while found := step.search(text, at):
        at = found.end()
        if found.group() == quote:
            return at
        if found.group() == "{":
            at = _field_end(text, at)
    return len(text)


def _field_end(text: str, at: int) -> int:
    """Where the replacement field of an f-string ends that begins at `at`: after its closing brace."""
    depth = 1
    step = re.compile(rf"[{{}}]|{_PREFIX}(?:\"\"\"|'''|\"|')")
    while depth and (found := step.search(text, at)):
        at = found.end()
        if found.group() in "{}":
            depth += 1 if found.group() == "{" else -1
            continue
        nested = _TOKEN.match(text, found.start())
        if nested is None:
            return len(text)
        at = _string_end(text, nested, "f" in (nested.group(1) or "").lower())
    return at if depth == 0 else len(text)


def _blank(string: str) -> str:
    """A string literal of the same characters' count and lines as `string`, with nothing in it."""
    if "\n" not in string and "\r" not in string:
        return "'" + " " * (len(string) - 2) + "'"
    if re.search(r"[\r\n]", string[:3] + string[-3:]):
        return string  # no room for three quotes on both sides: the file stays unreadable
    return "'''" + re.sub(r"[^\r\n]", " ", string[3:-3]) + "'''"
