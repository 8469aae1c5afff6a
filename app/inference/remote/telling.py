"""What is heard of an engine elsewhere → events of ours, in their order and terms. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from app.inference.remote.heard import Counts, Ended, Heard, Piece
from app.inference.stopping import StopScanner
from app.inference.types import Delta, Event, Finished, FinishReason, Loading, Queued, Started, Usage


@dataclass(slots=True, kw_only=True)
class Telling:
    """One request: queued, then started, then text in which no stop string is ever seen, whatever the engine does."""

    scanner: StopScanner
    seed: int
    begun: float = field(default_factory=time.monotonic)
    first: float | None = None
    last: float = 0.0
    queued: bool = False
    started: Started | None = None
    generated: int = 0

    def tell(self, together: Sequence[Heard]) -> Iterator[Event]:
        """What was heard at once. Nothing is told after a Finished."""
        for one in together:
            if not self.queued and not isinstance(one, Loading | Queued):
                yield self._queued(Queued(position=0))
            match one:
                case Loading():
                    yield one
                case Queued():
                    yield self._queued(one)
                case Started():
                    yield self._started(one)
                case Piece():
                    yield from self._piece(one)
                case Ended():
                    yield from self._ended(one)
                    return
        if self.scanner.hit is not None:  # a stop string that the engine was not told of, or does not heed
            yield self._finished(FinishReason.STOP, Counts(), self.scanner.hit)

    def _queued(self, event: Queued) -> Queued:
        self.queued = True
        return event

    def _started(self, event: Started) -> Started:
        self.started = event
        return event

    def _piece(self, piece: Piece) -> Iterator[Event]:
        self.last = time.monotonic()
        if self.first is None:
            self.first = self.last
        if self.started is None:
            yield self._started(Started(prompt_tokens=0, reused_tokens=0, seed=self.seed))
        self.generated += len(piece.tokens)
        yield Delta(text=self.scanner.feed(piece.text), tokens=piece.tokens)

    def _ended(self, end: Ended) -> Iterator[Event]:
        if self.started is None:
            yield self._started(Started(prompt_tokens=end.counts.prompt_tokens or 0, reused_tokens=0, seed=self.seed))
        if held := self.scanner.flush():
            yield Delta(text=held, tokens=())
        if self.scanner.hit is not None:
            yield self._finished(FinishReason.STOP, end.counts, self.scanner.hit)
        else:
            yield self._finished(end.reason, end.counts, end.stop)

    def _finished(self, reason: FinishReason, counts: Counts, stop: str | None) -> Finished:
        known = self.started.prompt_tokens if self.started else 0
        first = self.last if self.first is None else self.first
        usage = Usage(
            prompt_tokens=known if counts.prompt_tokens is None else counts.prompt_tokens,
            generated_tokens=self.generated if counts.generated_tokens is None else counts.generated_tokens,
            reused_tokens=counts.reused_tokens,
            prefill_s=max(0.0, first - self.begun),
            decode_s=self.last - first,
        )
        return Finished(reason=reason, usage=usage, stop=stop)
