"""The nouns of a conversation as it is kept and shown. Frozen values; do nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from app.inference.types import Role

MAX_CHARS = 100_000  # in one message; what the model takes is less, and the core says so
MAX_PICTURES = 4  # in one message
MAX_PICTURE_BYTES = 10 * 1024**2
TITLE_CHARS = 60


class State(StrEnum):
    """How far an answer came."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  # the person said so
    INTERRUPTED = "interrupted"  # the page was closed, or this server ended
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is known of an answer besides its text."""

    model: str  # its title
    state: State
    demo: bool = False
    cut: bool = False  # it reached the limit of its length
    forgotten: int = 0  # earlier questions that no longer fitted into the model's memory
    prompt_tokens: int = 0
    generated_tokens: int = 0
    tokens_per_s: float = 0.0
    device: str = ""  # what it ran on, as people call it
    note: str = ""  # why it failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One message. `answer` is there for the model's. `pictures`: encoded, in the order they are shown."""

    role: Role
    text: str
    pictures: tuple[bytes, ...] = field(default=(), repr=False)
    answer: Answer | None = None

    @property
    def empty(self) -> bool:
        return not self.text.strip() and not self.pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A conversation in a list. `room` is the tab it belongs to, `updated` seconds since the epoch."""

    id: str
    room: str
    title: str
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """`model` is the model's name in the core, `system` what the person wrote as the system prompt."""

    id: str
    room: str
    model: str
    title: str = ""
    system: str = ""
    created: float
    updated: float
    turns: tuple[Turn, ...] = ()


def title_of(text: str) -> str:
    """The first line of a message as a title of at most TITLE_CHARS characters."""
    line = " ".join((text.strip().splitlines() or [""])[0].split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
