"""A sequence on its way through the engine: waiting as a Ticket, then running."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from app.inference.engine.detokenise import TextStream
from app.inference.engine.kv import Grant, Ids
from app.inference.engine.sampling import Mode
from app.inference.engine.types import Sequence
from app.inference.errors import BadImage
from app.inference.families.base import FlatModel
from app.inference.stopping import StopScanner


@dataclass(slots=True, eq=False)
class Ticket:
    """A sequence that was accepted."""

    sequence: Sequence
    limit: int  # tokens it may generate: max_tokens, or what the context leaves
    submitted: float  # seconds, monotonic
    cancelled: bool = False
    position: int = -1  # the last one told

    @property
    def capacity(self) -> int:
        """Tokens it may have in all."""
        return len(self.sequence.prompt_ids) + self.limit


@dataclass(slots=True, kw_only=True)
class Pictures:
    """What stands in the place of image tokens, once the model has looked: at one picture after the other.

    `features` [n, h] are of the image tokens from the `skipped`-th on.
    """

    positions: Ids  # of all image tokens, in the prompt
    each: int  # image tokens to a picture
    skipped: int
    unseen: list[Tensor] = field(repr=False)  # pixels [3, H, W]
    features: Tensor | None = field(default=None, repr=False)

    @property
    def reach(self) -> int:
        """The position of the first image token that has no features yet. There is one while a picture is unseen."""
        return int(self.positions[self.skipped + (0 if self.features is None else len(self.features))])

    def look(self, model: FlatModel) -> None:
        """Have the model look at the next picture. Raises BadImage."""
        found = model.pictures(self.unseen[0][None])[0]
        if len(found) != self.each:
            raise BadImage(f"A picture is {len(found)} tokens to this model; the prompt has {self.each} for each.")
        self.features = found if self.features is None else torch.cat([self.features, found])
        del self.unseen[0]


@dataclass(slots=True, eq=False)
class Running:
    """A sequence with a seat and room in the arena, or one that gave both up for a while and will go on."""

    ticket: Ticket
    grant: Grant
    key: Ids  # what its prompt is recognised by: token ids, and fingerprints in the place of image tokens
    seat: int
    seed: int
    adapter: int
    mode: Mode
    text: TextStream
    stops: StopScanner
    admitted: float
    ids: list[int]  # prompt and output
    given: int  # of them, how many there were when it was let in, the last time: they are computed as a prompt
    computed: int  # of them, how many have keys and values in the arena
    reused: int  # of the prompt, taken from what was parked
    pictures: Pictures | None = None
    first_token: float = 0.0
    waited: float = 0.0  # seconds that it was paused
    waited_first: float = 0.0  # of them, before its first token
    paused_at: float = 0.0

    @property
    def prompt(self) -> int:
        return len(self.ticket.sequence.prompt_ids)

    @property
    def generated(self) -> int:
        return len(self.ids) - self.prompt

    @property
    def reach(self) -> int:
        """Up to where it can be computed as a prompt: to the first picture that is unseen."""
        return self.pictures.reach if self.pictures is not None and self.pictures.unseen else self.given

    @property
    def decoding(self) -> bool:
        return self.computed >= self.given

    @property
    def cramped(self) -> bool:
        """Whether its next token has no place in the arena yet."""
        return self.computed >= len(self.grant.slots)

    @property
    def recognised(self) -> Ids:
        """What its tokens so far are recognised by, in a later prompt."""
        return np.concatenate([self.key, np.asarray(self.ids[self.prompt :], dtype=np.int64)])
