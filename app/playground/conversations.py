"""Conversations in SQLite, each its user's own. Knows no model and no page.

Every change is on disk when the method returns, so nothing is lost when a page or this server ends. What was being
written when the server ended is marked as interrupted at the next start. May be called from any thread.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from app.inference.types import Role
from app.machine import naming
from app.playground import speeds
from app.playground.errors import NotFound
from app.playground.speeds import Speed
from app.playground.talk import Answer, Conversation, Heading, State, Turn, title_of

VERSION = 1
OWNER = "owner"
GUEST_DAYS = 30  # without a word; then a guest's conversations go
MOST_OF_A_GUEST = 100  # conversations; the oldest goes first
MOST_OF_GUESTS = 2_000
LISTED = 200

_SCHEMA = (
    """CREATE TABLE conversations (
        id TEXT PRIMARY KEY, user TEXT NOT NULL, room TEXT NOT NULL, model TEXT NOT NULL, title TEXT NOT NULL,
        system TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, opened REAL NOT NULL)""",
    "CREATE INDEX conversations_of_user ON conversations (user, room, opened)",
    """CREATE TABLE turns (
        conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE, place INTEGER NOT NULL,
        role TEXT NOT NULL, text TEXT NOT NULL, answer TEXT, PRIMARY KEY (conversation, place))""",
    """CREATE TABLE pictures (
        conversation TEXT NOT NULL, place INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (conversation, place, number),
        FOREIGN KEY (conversation, place) REFERENCES turns (conversation, place) ON DELETE CASCADE)""",
)


@dataclass(slots=True)
class Conversations:
    """The conversations of a file, which is made where there is none."""

    path: Path
    clock: Callable[[], float] = time.time
    device: Callable[[str], str] = naming.device  # what people call a device
    _db: sqlite3.Connection = field(init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._change() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                for statement in _SCHEMA:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute(speeds.TABLE)
        self._recover()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def begin(self, user: str, room: str, model: str) -> Conversation:
        """A new, empty conversation of `user`."""
        now = self.clock()
        made = Conversation(id=uuid.uuid4().hex, room=room, model=model, created=now, updated=now)
        with self._change() as db:
            db.execute("DELETE FROM conversations WHERE user = ? AND room = ? AND NOT EXISTS "
                       "(SELECT 1 FROM turns WHERE conversation = id)", (user, room))  # fmt: skip
            db.execute("INSERT INTO conversations VALUES (?, ?, ?, ?, '', '', ?, ?, ?)",
                       (made.id, user, room, model, now, now, now))  # fmt: skip
            if user != OWNER:
                _trim(db, "user = ?", (user,), MOST_OF_A_GUEST)
                _trim(db, "user != ?", (OWNER,), MOST_OF_GUESTS)
        return made

    def get(self, user: str, conversation: str) -> Conversation:
        """One with all that was said in it. Raises NotFound for another user's, too."""
        with self._read() as db:
            row = _row(db, user, conversation)
            turns = db.execute("SELECT * FROM turns WHERE conversation = ? ORDER BY place", (conversation,)).fetchall()
            pictures = db.execute(
                "SELECT place, data FROM pictures WHERE conversation = ? ORDER BY place, number", (conversation,)
            ).fetchall()
        return _conversation(row, turns, pictures)

    def latest(self, user: str, room: str) -> Conversation | None:
        """The one that was opened last, with all that was said in it."""
        with self._read() as db:
            found = db.execute(
                "SELECT id FROM conversations WHERE user = ? AND room = ? ORDER BY opened DESC, rowid DESC LIMIT 1",
                (user, room),
            ).fetchone()
            return self.get(user, found["id"]) if found else None

    def open(self, user: str, conversation: str) -> Conversation:
        """`get`, and from now on it is the latest. Raises NotFound."""
        with self._change() as db:
            _row(db, user, conversation)
            db.execute("UPDATE conversations SET opened = ? WHERE id = ?", (self.clock(), conversation))
        return self.get(user, conversation)

    def list(self, user: str, room: str, words: str = "") -> tuple[Heading, ...]:
        """Those in which something was said and all `words` occur, the newest first."""
        where, values = "user = ? AND room = ? AND EXISTS (SELECT 1 FROM turns WHERE conversation = id)", [user, room]
        for word in words.split()[:8]:
            where += (" AND (title LIKE ? ESCAPE '!' OR EXISTS "
                      "(SELECT 1 FROM turns WHERE conversation = id AND text LIKE ? ESCAPE '!'))")  # fmt: skip
            values += [_pattern(word)] * 2
        with self._read() as db:
            rows = db.execute(
                f"SELECT * FROM conversations WHERE {where} ORDER BY updated DESC, rowid DESC LIMIT {LISTED}", values
            ).fetchall()
        return tuple(Heading(id=row["id"], room=row["room"], title=row["title"], updated=row["updated"])
                     for row in rows)  # fmt: skip

    def rename(self, user: str, conversation: str, title: str) -> None:
        """Raises NotFound. An empty title leaves the old one."""
        with self._change() as db:
            _row(db, user, conversation)
            if title.strip():
                db.execute("UPDATE conversations SET title = ? WHERE id = ?", (title_of(_sane(title)), conversation))

    def set_model(self, user: str, conversation: str, model: str, system: str) -> None:
        """Which model answers from now on, with which system prompt. Raises NotFound."""
        with self._change() as db:
            _row(db, user, conversation)
            db.execute("UPDATE conversations SET model = ?, system = ? WHERE id = ?", (model, system, conversation))

    def delete(self, user: str, conversation: str) -> None:
        """Raises NotFound."""
        with self._change() as db:
            _row(db, user, conversation)
            db.execute("DELETE FROM conversations WHERE id = ?", (conversation,))

    def extend(self, user: str, conversation: str, keep: int, turns: Sequence[Turn]) -> Conversation:
        """The first `keep` turns, and `turns` after them. The first words give a title. Raises NotFound."""
        now = self.clock()
        with self._change() as db:
            row = _row(db, user, conversation)
            db.execute("DELETE FROM turns WHERE conversation = ? AND place >= ?", (conversation, keep))
            for place, turn in enumerate(turns, keep):
                _insert(db, conversation, place, turn)
            first = next((turn.text for turn in turns if turn.role is Role.USER and turn.text.strip()), "")
            title = row["title"] or title_of(_sane(first))
            db.execute("UPDATE conversations SET updated = ?, opened = ?, title = ? WHERE id = ?",
                       (now, now, title, conversation))  # fmt: skip
        return self.get(user, conversation)

    def save_answer(self, conversation: str, place: int, turn: Turn) -> None:
        """What turn `place`, an answer, has become. Nothing happens where the conversation is gone."""
        with self._change() as db:
            db.execute("UPDATE turns SET text = ?, answer = ? WHERE conversation = ? AND place = ?",
                       (_sane(turn.text), _answer_json(turn.answer), conversation, place))  # fmt: skip
            db.execute("UPDATE conversations SET updated = ? WHERE id = ?", (self.clock(), conversation))
            if turn.answer is not None:
                speeds.note(db, turn.answer, self.device(turn.answer.device), self.clock())

    def speeds(self, model: str, demo: bool) -> tuple[Speed, ...]:
        """How fast a model (by its title) answered, whoever asked, on each device; the last one used comes first."""
        with self._read() as db:
            return speeds.of(db, model, demo)

    def _recover(self) -> None:
        """No answer is under way when the server starts; guests that stayed away are forgotten."""
        with self._change() as db:
            rows = db.execute("SELECT * FROM turns WHERE answer LIKE '%running%'").fetchall()
            for row in rows:
                answer = json.loads(row["answer"])
                if answer["state"] == State.RUNNING:
                    answer["state"] = State.INTERRUPTED
                    db.execute("UPDATE turns SET answer = ? WHERE conversation = ? AND place = ?",
                               (json.dumps(answer), row["conversation"], row["place"]))  # fmt: skip
            stale = self.clock() - GUEST_DAYS * 86400
            db.execute("DELETE FROM conversations WHERE user != ? AND opened < ?", (OWNER, stale))

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._db

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def _row(db: sqlite3.Connection, user: str, conversation: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM conversations WHERE id = ? AND user = ?", (conversation, user)
    ).fetchone()
    if row is None:
        raise NotFound("That conversation is not there any more.", hint="Choose another, or begin a new one.")
    return row


def _trim(db: sqlite3.Connection, where: str, values: tuple[str, ...], most: int) -> None:
    db.execute(f"DELETE FROM conversations WHERE id IN (SELECT id FROM conversations WHERE {where} "
               "ORDER BY opened DESC, rowid DESC LIMIT -1 OFFSET ?)", (*values, most))  # fmt: skip


def _insert(db: sqlite3.Connection, conversation: str, place: int, turn: Turn) -> None:
    db.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?)",
               (conversation, place, turn.role.value, _sane(turn.text), _answer_json(turn.answer)))  # fmt: skip
    for number, data in enumerate(turn.pictures):
        db.execute("INSERT INTO pictures VALUES (?, ?, ?, ?)", (conversation, place, number, data))


def _sane(text: str) -> str:
    """Half a character (a lone surrogate) cannot be stored, nor sent to anybody."""
    return text.encode("utf-8", "replace").decode()


def _answer_json(answer: Answer | None) -> str | None:
    return json.dumps(asdict(answer)) if answer else None


def _pattern(word: str) -> str:
    escaped = word.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{_sane(escaped)}%"


def _conversation(row: sqlite3.Row, turns: list[Any], pictures: list[Any]) -> Conversation:
    shown: dict[int, list[bytes]] = {}
    for picture in pictures:
        shown.setdefault(picture["place"], []).append(picture["data"])
    return Conversation(
        id=row["id"],
        room=row["room"],
        model=row["model"],
        title=row["title"],
        system=row["system"],
        created=row["created"],
        updated=row["updated"],
        turns=tuple(_turn(turn, tuple(shown.get(turn["place"], ()))) for turn in turns),
    )


def _turn(row: sqlite3.Row, pictures: tuple[bytes, ...]) -> Turn:
    answer = None
    if row["answer"]:
        stored = json.loads(row["answer"])
        answer = Answer(**{**stored, "state": State(stored["state"])})
    return Turn(role=Role(row["role"]), text=row["text"], pictures=pictures, answer=answer)
