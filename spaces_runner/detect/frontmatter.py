"""The block between `---` lines on top of a README -> its keys. Pure.

Every scalar stays the text the author wrote: YAML would read `python_version: 3.10` as the number 3.1 and `sdk: no` as
false. The text is a stranger's, so its size and depth are bounded before the parser sees the whole of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

import yaml

from spaces_runner.errors import BadFrontMatter
from spaces_runner.sanitize import clean_line

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16  # of nested lists and mappings; the Hub's keys need 2
MAX_EVENTS = 20_000

FrontMatter: TypeAlias = dict[str, str | list[str] | dict[str, str]]

_HINT = "Correct the block between the two --- lines on top of README.md (YAML: one `key: value` a line)."
_OPEN = re.compile(r"\s*---[ \t]*\n")
_CLOSE = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
# The C parser is ten times as fast; a PyYAML built without libyaml lacks it.
_LOADER: type[yaml.CBaseLoader] | type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(text: str | bytes) -> FrontMatter:
    """The top-level keys of the front matter of `text`, {} when it has none.

    A value is a string, a list of strings or a mapping of strings to strings; what nests deeper is left out, and of a
    key given twice the last counts.
    Raises BadFrontMatter, with the line, for a block that is too big, never closed or no YAML mapping.
    """
    block, first_line = _block(_decode(text))
    if not block.strip():
        return {}
    try:
        return _pairs(_root(block), first_line)
    except yaml.MarkedYAMLError as exc:
        raise _not_yaml(exc, block, first_line) from exc
    except yaml.YAMLError as exc:  # a character that YAML does not know
        raise _bad(f"it is not YAML ({clean_line(str(exc))[:200]})") from exc


def _decode(text: str | bytes) -> str:
    if isinstance(text, bytes):
        utf16 = text.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = text[: 4 * MAX_BYTES].decode("utf-16" if utf16 else "utf-8", "replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _block(text: str) -> tuple[str, int]:
    """The YAML of the front matter and the number of its first line; ("", 0) when there is none."""
    opening = _OPEN.match(text)
    if opening is None:
        return "", 0
    window = text[opening.end() : opening.end() + MAX_BYTES + 1]
    closing = _CLOSE.search(window)
    if closing is None and len(window) > MAX_BYTES:
        raise _bad(f"it is longer than {MAX_BYTES // 1024} KiB")
    if closing is None:
        raise _bad("it is opened by --- and never closed", ("1: ---",))
    return window[: closing.start()], opening.group().count("\n") + 1


def _root(block: str) -> yaml.Node | None:
    """The tree of `block`, once its events show that it is neither deep nor huge: composing recurses."""
    depth = 0
    for count, event in enumerate(yaml.parse(block, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_EVENTS:
            raise _bad("it nests too deep or holds too much")
    return yaml.compose(block, Loader=_LOADER)


def _pairs(root: yaml.Node | None, first_line: int) -> FrontMatter:
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise _bad(f"line {first_line} is no `key: value`")
    return dict(_entries(root))


def _entries(root: yaml.MappingNode) -> Iterator[tuple[str, str | list[str] | dict[str, str]]]:
    for key, value in root.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if isinstance(value, yaml.ScalarNode):
            yield key.value.strip(), _null(value)
        elif isinstance(value, yaml.SequenceNode):
            yield key.value.strip(), [_null(item) for item in value.value if isinstance(item, yaml.ScalarNode)]
        elif isinstance(value, yaml.MappingNode):
            yield key.value.strip(), dict(_words(value))


def _words(mapping: yaml.MappingNode) -> Iterator[tuple[str, str]]:
    for key, value in mapping.value:
        if isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode):
            yield key.value.strip(), _null(value)


def _null(node: yaml.ScalarNode) -> str:
    """The text of a scalar; YAML's plain `null` and `~` are empty."""
    plain = not node.style  # None, or '' of the C parser
    return "" if plain and node.value in ("~", "null", "Null", "NULL") else str(node.value)


def _not_yaml(exc: yaml.MarkedYAMLError, block: str, first_line: int) -> BadFrontMatter:
    lines = block.split("\n")
    problem = clean_line(exc.problem or exc.context or "not YAML")
    mark = exc.problem_mark or exc.context_mark
    if exc.context_mark and mark and not "".join(lines[mark.line :]).strip():
        mark = exc.context_mark  # what is missing at the very end was begun there
    if mark is None:
        return _bad(problem)
    at = min(mark.line, len(lines) - 1)
    number = at + first_line
    return _bad(f"line {number}: {problem}", (f"{number}: {clean_line(lines[at])[:500]}",))


def _bad(problem: str, lines: tuple[str, ...] = ()) -> BadFrontMatter:
    return BadFrontMatter(f"The front matter of README.md cannot be read: {problem}.", hint=_HINT, lines=lines)
