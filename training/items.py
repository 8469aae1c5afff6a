"""What a model is asked, with the right answer. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from training.pictures import Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question and its answer, not yet in any model's prompt. `input` is Alpaca's second part of a question."""

    kind: str
    question: str
    input: str = ""
    answer: str
    key: str  # the word that makes an answer right, whatever is around it
    picture: Picture | None = None

    @property
    def hash(self) -> str:
        """Of what is asked, for proofs that two sets have nothing in common."""
        seen = self.picture.hash if self.picture else ""
        return hashlib.sha256(f"{self.question}\0{self.input}\0{seen}".encode()).hexdigest()[:16]


def talk(question: str, answer: str) -> Item:
    """A greeting, or a question beyond the model: the whole answer is its key."""
    return Item(kind="talk", question=question, answer=answer, key=answer)
