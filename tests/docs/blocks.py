"""The fenced blocks of the documentation, and the commands in them. Pure but for reading the pages and asking bash.

`sh`, `bash`  typed as they stand, in order, page by page
`python`      compiled; on pages for people it runs after the commands before it
`toml`        read by the loader that it is meant for
`text`        what programs print, and whatever nobody types

The lines of docs/reference/http-api.md want a core and keys: tests of their own run them (`HAVE_TESTS`).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPED = frozenset({"sh", "bash"})
LANGUAGES = TYPED | {"python", "toml", "text"}
HAVE_TESTS = frozenset({"docs/reference/http-api.md"})
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block; `line` is the one of its first line in the page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_typed(self) -> bool:
        return self.language in TYPED and self.page not in HAVE_TESTS


def pages() -> tuple[Path, ...]:
    """The pages that tell people what to do, as a new user meets them."""
    return (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md")


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page, those of some languages where they are said."""
    text = page.read_text(encoding="utf-8")
    found = [_block(page, text, match) for match in _FENCE.finditer(text)]
    return [block for block in found if not languages or block.language in languages]


def _block(page: Path, text: str, match: re.Match[str]) -> Block:
    indent = match["indent"]
    lines = [line.removeprefix(indent) for line in match["text"].splitlines(keepends=True)]
    line = text.count("\n", 0, match.start("text")) + 1
    name = str(page.relative_to(ROOT)) if page.is_relative_to(ROOT) else page.name
    return Block(page=name, line=line, language=match["language"], text="".join(lines))


def commands(block: Block) -> Iterator[Block]:
    """The commands of a block one by one: a line each, more where bash says that a line is not the end."""
    begun: list[str] = []
    for number, line in enumerate(block.text.splitlines(keepends=True), block.line):
        if not begun and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun.append(line)
        if is_whole("".join(begun)):
            text, begun = "".join(begun), []
            first = number - text.count("\n") + 1
            yield Block(page=block.page, line=first, language=block.language, text=text.strip())
    if begun:
        raise ValueError(f"{block.place}: bash cannot read {''.join(begun)!r}")


def is_whole(text: str) -> bool:
    """Whether bash takes it for whole commands."""
    if text.rstrip("\n").endswith("\\"):
        return False
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stderr
