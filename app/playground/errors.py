"""What can go wrong between a person and a model, each as a sentence for people and what to do next.

PlaygroundError
├── CoreAway         no core answers, or it broke off
├── CoreRefused      the core answered that it will not: its own sentence
├── TooFast          one guest, or all of them together, ask too often
├── Answering        the conversation has an answer under way
├── NotFound         no such conversation, or somebody else's
└── TooMuch          more text or pictures than is taken
"""

from __future__ import annotations


class PlaygroundError(Exception):
    """The base. `message` says what happened, `hint` what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def sentence(self) -> str:
        return f"{self.message} {self.hint}".strip()


class CoreAway(PlaygroundError):
    pass


class CoreRefused(PlaygroundError):
    """`code` is the core's own, stable name of what is wrong."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class TooFast(PlaygroundError):
    """`retry_after`: seconds until another try would pass."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, hint=f"Try again in {max(1, round(retry_after))} s.")
        self.retry_after = retry_after


class Answering(PlaygroundError):
    pass


class NotFound(PlaygroundError):
    pass


class TooMuch(PlaygroundError):
    pass


class NoPicture(PlaygroundError):
    pass
