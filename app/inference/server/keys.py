"""Who calls: bearer tokens, read as digests from a file that may change while it is used. Knows no request.

A token is 256 random bits, so its SHA-256 can be kept: there is nothing to guess. Who starts the core writes the file
(`spaces_runner/core/keys.py`); nothing here does. It is JSON, mode 0600:

    {"keys": [{"name": "program:laptop", "sha256": "…", "made": 1764000000.0}]}

Whose key is in the file may use models; the owner's token, which is in none, has every right.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.inference.errors import KeysUnreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whom a token belongs to. `name` is what fair queueing counts by."""

    name: str
    may_manage: bool = False  # load, put to sleep and unload models
    may_name_clients: bool = False  # says for whom it asks: a page with many users


class Keys(Protocol):
    def find(self, token: str) -> Caller | None:
        """The caller with this token. Raises KeysUnreadable."""


@dataclass(frozen=True, slots=True)
class OneKey:
    """A single token with every right, for a core that one person started by hand."""

    token: str = field(repr=False)
    caller: Caller = Caller(name="owner", may_manage=True, may_name_clients=True)

    def find(self, token: str) -> Caller | None:
        return self.caller if hmac.compare_digest(_digest(token), _digest(self.token)) else None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Several sets of keys as one."""

    sets: tuple[Keys, ...]

    def find(self, token: str) -> Caller | None:
        return next((caller for keys in self.sets if (caller := keys.find(token))), None)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    made: float | None = None  # seconds since the epoch, for whoever lists them

    @property
    def caller(self) -> Caller:
        return Caller(name=self.name)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: list[_Entry] = []


@dataclass(slots=True)
class KeyFile:
    """The keys of a file, read again when it changes: a key that was taken out opens nothing from then on."""

    path: Path
    _seen: tuple[int, int, int] | None = None
    _entries: tuple[_Entry, ...] = ()

    def find(self, token: str) -> Caller | None:
        digest, found = _digest(token), None
        for entry in self._current():  # every one is compared, so that the time says nothing of which
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.caller
        return found

    def _current(self) -> tuple[_Entry, ...]:
        status = _status(self.path)
        mark = (status.st_ino, status.st_mtime_ns, status.st_size) if status else None
        if mark is None:
            self._entries = ()
        elif mark != self._seen:
            self._entries = tuple(_read(self.path).keys)
        self._seen = mark
        return self._entries


def _status(path: Path) -> os.stat_result | None:
    """The file's status, or None where there is no file. Raises KeysUnreadable where others may write to it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeysUnreadable(f"The keys in {path.name} cannot be read: {error.strerror}.") from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise KeysUnreadable(f"Others may read or write {path.name}.", hint=f"Make it the owner's: chmod 600 {path}")
    return status


def _read(path: Path) -> _File:
    try:
        return _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise KeysUnreadable(f"The keys in {path.name} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise KeysUnreadable(f"{path.name} holds no keys: {where} {first['msg']}.") from error


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
