"""From a ticket to a running sequence: room in the arena, a seat, the pictures to look at."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from app.inference.engine.detokenise import Decode, TextStream
from app.inference.engine.kv import Grant, Ids, KvStore
from app.inference.engine.live import Pictures, Running, Ticket
from app.inference.engine.lora import BASE
from app.inference.engine.sampling import mode
from app.inference.engine.seats import Seats
from app.inference.engine.types import Sequence
from app.inference.families.base import FlatModel
from app.inference.stopping import StopScanner

Tokens = Many[int]
EXACT = 2**53  # every whole number below it survives a client that reads numbers as floats


@dataclass(frozen=True, slots=True)
class _Berth:
    """What a sequence needs of the machine to run."""

    grant: Grant
    seat: int
    pictures: Pictures | None


class Admission:
    """Lets tickets in while there is room."""

    def __init__(  # noqa: PLR0913 - the parts of an engine, put together once
        self,
        *,
        model: FlatModel,
        store: KvStore,
        seats: Seats,
        adapters: Mapping[str, int],
        decode: Decode,
        growth: int | None,
    ) -> None:
        """`growth`: tokens of an answer for which room is kept at a time; None: for the whole of it."""
        self._model = model
        self._store = store
        self._seats = seats
        self._adapters = adapters
        self._decode = decode
        self._growth = growth

    def admit(self, ticket: Ticket) -> Running | None:
        """Give it what it needs; None while there is too little."""
        if not self._seats.free:
            return None
        sequence = ticket.sequence
        key, seed = recognised_by(sequence, self._model.image_token), seed_of(sequence)
        text = TextStream(self._decode, sequence.prompt_ids)
        berth = self._berth(ticket, seed, key, sequence.prompt_ids)
        if berth is None:
            return None
        return Running(
            ticket=ticket,
            grant=berth.grant,
            key=key,
            seat=berth.seat,
            seed=seed,
            adapter=self._adapter(sequence),
            mode=mode(sequence.sampling),
            text=text,
            stops=StopScanner(sequence.stop),
            admitted=time.monotonic(),
            ids=list(sequence.prompt_ids),
            given=len(sequence.prompt_ids),
            computed=berth.grant.reused,
            reused=berth.grant.reused,
            pictures=berth.pictures,
        )

    def readmit(self, one: Running) -> bool:
        """The same for one that was paused, which then goes on where it was; False while there is too little."""
        berth = self._berth(one.ticket, one.seed, one.recognised, one.ids) if self._seats.free else None
        if berth is None:
            return False
        one.grant, one.seat, one.pictures = berth.grant, berth.seat, berth.pictures
        one.given, one.computed = len(one.ids), berth.grant.reused
        return True

    def capacity(self, ticket: Ticket, tokens: int) -> int:
        """For how many tokens there is to be room, when it has so many."""
        return ticket.capacity if self._growth is None else min(ticket.capacity, tokens + self._growth)

    def _berth(self, ticket: Ticket, seed: int, key: Ids, ids: Tokens) -> _Berth | None:
        """`ids` are all its tokens so far, `key` is what they are recognised by."""
        sequence = ticket.sequence
        grant = self._store.admit(sequence.namespace, key, self.capacity(ticket, len(ids)))
        if grant is None:
            return None
        try:
            pictures = self._pictures(sequence, grant.reused)
            return _Berth(grant, self._seat(sequence, seed, grant, ids), pictures)
        except BaseException:
            self._store.release(grant)
            raise

    def _seat(self, sequence: Sequence, seed: int, grant: Grant, ids: Tokens) -> int:
        seat = self._seats.take(sequence.sampling, seed, ids)
        try:
            self._seats.settle(seat, self._adapter(sequence), grant)
        except BaseException:
            self._seats.leave(seat)
            raise
        return seat

    def _adapter(self, sequence: Sequence) -> int:
        return self._adapters[sequence.adapter] if sequence.adapter else BASE

    def _pictures(self, sequence: Sequence, reused: int) -> Pictures | None:
        """Those of its pictures of which not everything is in the arena already."""
        if sequence.pixels is None:
            return None
        positions = image_positions(sequence, self._model.image_token)
        each = len(positions) // len(sequence.pixels)
        skipped = int(np.searchsorted(positions, reused)) // each
        if skipped == len(sequence.pixels):
            return None
        return Pictures(positions=positions, each=each, skipped=skipped * each, unseen=list(sequence.pixels[skipped:]))


def seed_of(sequence: Sequence) -> int:
    """Its own, or one drawn now."""
    given = sequence.sampling.seed
    return given if given is not None else secrets.randbelow(EXACT)


def image_positions(sequence: Sequence, image_token: int | None) -> Ids:
    """Where image tokens stand in the prompt."""
    return np.flatnonzero(np.asarray(sequence.prompt_ids, dtype=np.int64) == image_token)


def recognised_by(sequence: Sequence, image_token: int | None) -> Ids:
    """The prompt's ids, and in the place of image tokens a fingerprint of what is seen there."""
    key = np.array(sequence.prompt_ids, dtype=np.int64)
    if sequence.pixels is not None:
        positions = image_positions(sequence, image_token).reshape(len(sequence.pixels), -1)
        for place, pixels in zip(positions, sequence.pixels, strict=True):
            key[place] = -fingerprint(pixels)
    return key


def fingerprint(pixels: Tensor) -> int:
    """A number of 62 bits by which a picture is known."""
    raw = pixels.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest()) >> 2
