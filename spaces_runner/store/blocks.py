"""Blocks of neighbouring ports in the state database: who has which, and who had it last. Knows no socket."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from spaces_runner.errors import PortTaken

REST_S = 60.0  # until another Space may get it: pages of the last one are open somewhere, and still ask
BLOCKS = 800  # of ten ports each: a wide range, so that none comes back soon to somebody else
_CURSOR = "port_cursor"


def claim(db: sqlite3.Connection, run_id: str, base: int, is_free: Callable[[int], bool], size: int) -> range:
    """The block that the run's Space had last, if it is free, so that its address stays; or the next one that rested.

    Raises PortTaken where none is free from `base` on.
    """
    row = db.execute("SELECT space_id FROM runs WHERE id = ?", (run_id,)).fetchone()
    space_id = str(row["space_id"]) if row else ""
    span = range(base, base + BLOCKS * 10)
    block = _last(db, space_id, span, is_free) or _next(db, span, is_free, size)
    if block is None:
        raise PortTaken(
            f"No {size} neighbouring ports are free between {span.start} and {span.stop}.",
            hint="Stop Spaces that are not needed, or set SPACES_RUNNER_PORT_BASE to another range.",
        )
    db.execute(
        "INSERT OR REPLACE INTO ports (first, size, run_id, space_id) VALUES (?, ?, ?, ?)",
        (block.start, len(block), run_id, space_id),
    )
    return block


def release(db: sqlite3.Connection, run_id: str) -> None:
    """The run's blocks are free again. Whose they were is kept until somebody else gets them."""
    db.execute("UPDATE ports SET released = ? WHERE run_id = ? AND released IS NULL", (time.time(), run_id))


def _last(db: sqlite3.Connection, space_id: str, span: range, is_free: Callable[[int], bool]) -> range | None:
    if not space_id:
        return None
    row = db.execute(
        "SELECT first, size FROM ports WHERE space_id = ? AND released IS NOT NULL ORDER BY released DESC LIMIT 1",
        (space_id,),
    ).fetchone()
    if row is None or row["first"] not in span:
        return None
    block = range(row["first"], row["first"] + row["size"])
    return block if all(map(is_free, block)) else None


def _next(db: sqlite3.Connection, span: range, is_free: Callable[[int], bool], size: int) -> range | None:
    now = time.time()  # what was released after it, was by a clock that has been set back since
    recent = "SELECT first, size FROM ports WHERE released IS NULL OR released BETWEEN ? AND ?"
    rows = db.execute(recent, (now - REST_S, now))
    taken = {port for row in rows for port in range(row["first"], row["first"] + row["size"])}
    row = db.execute("SELECT value FROM counters WHERE name = ?", (_CURSOR,)).fetchone()
    cursor = int(row["value"]) if row else 0
    for step in range(0, len(span), size):
        first = span.start + (cursor + step) % len(span)
        block = range(first, first + size)
        if block.stop <= span.stop and taken.isdisjoint(block) and all(map(is_free, block)):
            db.execute(
                "INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)", (_CURSOR, block.stop - span.start)
            )
            return block
    return None
