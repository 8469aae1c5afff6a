"""`scripts/bench web`: the page under load, and cold. The core is scripted; pages are driven over HTTP as browsers do.

Server, core, Spaces and readers share the machine, so what the readers take counts against the page. How late a piece
of text is: from when it was made, in the core or in the Space, to when the reader had it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bench.results import Row, publish
from bench.web_parts import Size, chats, cold, logs

PARTS: dict[str, Callable[[Size], list[Row]]] = {"a": chats, "b": logs, "c": cold}


def main() -> int:
    """Measure and publish. `--only` takes letters of the parts; the others make it smaller, for a quick look."""
    whole = Size()
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=whole.streams)
    parser.add_argument("--spaces", type=int, default=whole.spaces)
    parser.add_argument("--lines", type=float, default=whole.lines)
    parser.add_argument("--seconds", type=float, default=whole.seconds)
    parser.add_argument("--only", default="abc")
    wanted = parser.parse_args()
    size = Size(streams=wanted.streams, spaces=wanted.spaces, lines=wanted.lines, seconds=wanted.seconds)
    rows: list[Row] = []
    for letter, part in PARTS.items():
        if letter in wanted.only:
            sys.stderr.write(f"({letter}) {(part.__doc__ or '').splitlines()[0]}\n")
            found = part(size)
            sys.stderr.write("".join(f"    {row.name}: {row.value:g} {row.unit} {row.bar}\n" for row in found))
            rows += found
    return publish("web", rows) if wanted.only == "abc" and size == whole else 0


if __name__ == "__main__":
    raise SystemExit(main())
