"""How fast each model answers, by what it ran on: of the last answers, the mean. In the conversations' database."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from app.playground.talk import Answer, State

TABLE = """CREATE TABLE IF NOT EXISTS speeds (
    model TEXT NOT NULL, demo INTEGER NOT NULL, device TEXT NOT NULL, rate REAL NOT NULL, at REAL NOT NULL)"""
REMEMBERED = 20  # answers of a model on a device
FEWEST_TOKENS = 5  # a shorter answer says nothing of the speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """`rate` in tokens a second, of `answers` answers. `device` as people call it: CPU, NVIDIA H100 80GB HBM3."""

    device: str
    rate: float
    answers: int


def note(db: sqlite3.Connection, answer: Answer, device: str, at: float) -> None:
    """Remember how fast `answer` was written. One that failed, or was too short to tell, is passed over."""
    whole = answer.state in (State.DONE, State.STOPPED)
    if not (whole and device and answer.tokens_per_s > 0 and answer.generated_tokens >= FEWEST_TOKENS):
        return
    key = (answer.model, answer.demo, device)
    db.execute("INSERT INTO speeds VALUES (?, ?, ?, ?, ?)", (*key, answer.tokens_per_s, at))
    db.execute("DELETE FROM speeds WHERE model = ? AND demo = ? AND device = ? AND rowid NOT IN (SELECT rowid FROM "
               "speeds WHERE model = ? AND demo = ? AND device = ? ORDER BY at DESC, rowid DESC LIMIT ?)",
               (*key, *key, REMEMBERED))  # fmt: skip


def of(db: sqlite3.Connection, model: str, demo: bool) -> tuple[Speed, ...]:
    """What is known of a model, by its title; the device that was used last comes first."""
    rows = db.execute("SELECT device, AVG(rate) AS rate, COUNT(*) AS answers FROM speeds WHERE model = ? AND demo = ? "
                      "GROUP BY device ORDER BY MAX(at) DESC", (model, demo)).fetchall()  # fmt: skip
    return tuple(Speed(device=row["device"], rate=row["rate"], answers=row["answers"]) for row in rows)
