"""From a ticket to a running sequence: room in the arena, a seat, the pictures to look at."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping

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

EXACT = 2**53  # every whole number below it survives a client that reads numbers as floats


class Admission:
    """Lets tickets in while there is room."""

    def __init__(
        self, *, model: FlatModel, store: KvStore, seats: Seats, adapters: Mapping[str, int], decode: Decode
    ) -> None:
        self._model = model
        self._store = store
        self._seats = seats
        self._adapters = adapters
        self._decode = decode

    def admit(self, ticket: Ticket) -> Running | None:
        """Give it what it needs; None while there is too little."""
        if not self._seats.free:
            return None
        sequence = ticket.sequence
        key = recognised_by(sequence, self._model.image_token)
        grant = self._store.admit(sequence.namespace, key, ticket.capacity)
        if grant is None:
            return None
        try:
            pictures = self._pictures(sequence, grant.reused)
            return self._seated(ticket, grant, key, pictures)
        except BaseException:
            self._store.release(grant)
            raise

    def _seated(self, ticket: Ticket, grant: Grant, key: Ids, pictures: Pictures | None) -> Running:
        sequence = ticket.sequence
        seed = seed_of(sequence)
        adapter = self._adapters[sequence.adapter] if sequence.adapter else BASE
        text = TextStream(self._decode, sequence.prompt_ids)
        seat = self._seats.take(sequence.sampling, seed, sequence.prompt_ids)
        try:
            self._seats.settle(seat, adapter, grant)
        except BaseException:
            self._seats.leave(seat)
            raise
        return Running(
            ticket=ticket,
            grant=grant,
            key=key,
            seat=seat,
            seed=seed,
            adapter=adapter,
            mode=mode(sequence.sampling),
            text=text,
            stops=StopScanner(sequence.stop),
            admitted=time.monotonic(),
            ids=list(sequence.prompt_ids),
            computed=grant.reused,
            pictures=pictures,
        )

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
