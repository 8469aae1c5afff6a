"""Comparisons as they are kept: two conversations, of which the right one's room is named for the left one. Knows no
components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.playground.playground import Playground
from app.playground.talk import Conversation, Heading, State

ROOM = "compare"


@dataclass(frozen=True, slots=True)
class Comparisons:
    """A comparison goes by the id of its left conversation. Methods that take one raise NotFound."""

    playground: Playground

    def begin(self, user: str, models: Sequence[str]) -> str:
        left, right = models
        kept = self.playground.conversations
        begun = kept.begin(user, ROOM, left).id
        kept.begin(user, _beside(begun), right)
        return begun

    def sides(self, user: str, comparison: str) -> tuple[Conversation, Conversation]:
        """Both as far as they are now. A right one that is gone, as a guest's oldest go, is begun anew."""
        left = self.playground.see(user, comparison)
        right = self.playground.latest(user, _beside(comparison))
        return left, right or self.playground.conversations.begin(user, _beside(comparison), left.model)

    def latest(self, user: str) -> str:
        """The one that was open last; "" for none."""
        found = self.playground.conversations.latest(user, ROOM)
        return found.id if found else ""

    def open(self, user: str, comparison: str) -> None:
        """From now on it is the latest."""
        for side in self.sides(user, comparison):
            self.playground.conversations.open(user, side.id)

    def rename(self, user: str, comparison: str, title: str) -> None:
        self.playground.conversations.rename(user, comparison, title)

    async def stop(self, user: str, comparison: str) -> None:
        for side in self.sides(user, comparison):
            await self.playground.end(user, side.id, State.STOPPED)

    async def delete(self, user: str, comparison: str) -> None:
        for side in self.sides(user, comparison):
            await self.playground.delete(user, side.id)

    def drop(self, user: str, comparison: str) -> None:
        """One in which nothing is being answered."""
        for side in self.sides(user, comparison):
            self.playground.conversations.delete(user, side.id)

    def list(self, user: str, words: str) -> tuple[Heading, ...]:
        """Those in which all `words` occur on one side or the other, the newest first."""
        kept = self.playground.conversations
        everything = kept.list(user, ROOM)
        if not words.strip():
            return everything
        left = {heading.id for heading in kept.list(user, ROOM, words)}
        return tuple(each for each in everything if each.id in left or kept.list(user, _beside(each.id), words))


def _beside(comparison: str) -> str:
    return f"{ROOM}-{comparison}"
