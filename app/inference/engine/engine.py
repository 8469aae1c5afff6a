"""The engine: schedule, run, sample, collect. One model, many sequences, one thread that steps."""

from __future__ import annotations

import math
import time
from bisect import insort
from functools import partial

import torch

from app.inference.engine.checks import check_ids, check_pictures
from app.inference.engine.collect import collect, vocabulary
from app.inference.engine.fair import FairQueue
from app.inference.engine.guard import guarded
from app.inference.engine.intake import Intake
from app.inference.engine.live import Running, Ticket
from app.inference.engine.lora import Route, install
from app.inference.engine.machine import Blueprint, Machine, build
from app.inference.engine.plan import Plan, plan
from app.inference.engine.rate import Rate
from app.inference.engine.runner import Drawn
from app.inference.engine.types import EngineStats, Failed, Limits, Sequence
from app.inference.errors import DeviceLost, GenerationFailed, InferenceError, PromptTooLong, UnknownAdapter
from app.inference.families import flat_model, kv_shape
from app.inference.loaded import LoadedModel
from app.inference.types import Finished, Queued, Started


def kv_bytes_per_token(loaded: LoadedModel) -> int:
    """What the keys and values of one token take, in bytes."""
    return kv_shape(loaded).nbytes(loaded.dtype.itemsize)


class Engine:
    """Streams text from one base model and its adapters. From here on, the model runs for this engine alone.

    `submit` and `cancel` may be called from any thread, all else from the one that steps. What is accepted ends in
    exactly one Finished or Failed; what is cancelled ends in silence, and its room is free within one step.
    """

    def __init__(self, loaded: LoadedModel, limits: Limits) -> None:
        """Raises OutOfMemory when the device has no room for `limits.kv_tokens`."""
        self._limits = limits
        self._context = loaded.context
        self._chunk = limits.chunk_tokens or (512 if loaded.device.type == "cuda" else 192)
        self._known = vocabulary(loaded.tokenizer, loaded.eos_ids)
        self._model = flat_model(loaded)
        route = Route()
        self._blueprint = Blueprint(
            loaded=loaded,
            model=self._model,
            limits=limits,
            route=route,
            adapters=install(loaded.model, loaded.adapters, route),
            decode=self._known.decode,
        )
        self._machine: Machine | None = build(self._blueprint)
        self._intake = Intake(limits.max_waiting)
        self._queue: FairQueue[Ticket] = FairQueue(limits.quantum)
        self._running: list[Running] = []
        self._paused: list[Running] = []  # the oldest first
        self._rate = Rate()
        self._generated = self._prefilled = self._reused = self._steps = self._pauses = 0
        self._used = 0  # tokens of the arena: counted by the thread that steps, read by any

    def submit(self, sequence: Sequence) -> None:
        """Accept a sequence; it is queued by the next step.

        Raises PromptTooLong, UnknownAdapter, BadImage, ImagesNotSupported, BadRequest, Overloaded.
        """
        room = min(self._context, self._capacity)
        prompt = len(sequence.prompt_ids)
        if prompt >= room:
            raise PromptTooLong(prompt, room - 1)
        if sequence.adapter is not None and sequence.adapter not in self._blueprint.adapters:
            raise UnknownAdapter(sequence.adapter, self._blueprint.adapters)
        check_ids(sequence, self._model.vocabulary)
        check_pictures(sequence, self._model.image_token)
        limit = min(sequence.sampling.max_tokens, room - prompt)
        self._intake.put(Ticket(sequence=sequence, limit=limit, submitted=time.monotonic()), self._rate.wait)

    def cancel(self, sequence_id: str) -> None:
        """End a sequence without another event. One that is unknown, or has ended, changes nothing."""
        self._intake.cancel(sequence_id)

    @property
    def idle(self) -> bool:
        return self._intake.idle

    @property
    def stats(self) -> EngineStats:
        machine = self._machine
        return EngineStats(
            running=len(self._running) + len(self._paused),
            waiting=self._intake.waiting,
            pauses=self._pauses,
            kv_tokens=self._capacity if machine else 0,
            kv_tokens_used=self._used,
            kv_bytes=machine.store.arena.nbytes if machine else 0,
            generated_tokens=self._generated,
            prefilled_tokens=self._prefilled,
            reused_tokens=self._reused,
            steps=self._steps,
        )

    def step(self) -> bool:
        """One forward pass at most, and one picture looked at; False when there was nothing to do.

        Raises DeviceLost, when every sequence has been told: this process can compute no more.
        """
        try:
            with torch.inference_mode():
                return self._step()
        except DeviceLost as lost:
            self.fail_all(lost)
            raise

    def fail_all(self, error: InferenceError) -> None:
        """End every sequence with this error."""
        self._take_in()
        for one in list(self._running):
            self._end(one, Failed(error=error))
        while self._paused:
            self._intake.close(self._paused.pop().ticket, Failed(error=error))
        while self._queue.peek() is not None:
            ticket = self._queue.pop()
            self._intake.left_queue(ticket)
            self._intake.close(ticket, Failed(error=error))

    def suspend(self) -> None:
        """Let go of everything on the device but the weights. Raises RuntimeError while there is work.

        What was cancelled since the last step is none: nobody steps any more, so it is cleared up here.
        """
        self._take_in()
        if not self.idle:
            raise RuntimeError("an engine with work cannot be suspended")
        self._machine = None

    def resume(self) -> None:
        """Be ready again; what was parked is gone. Raises OutOfMemory."""
        if self._machine is None:
            self._machine = build(self._blueprint)

    @property
    def _capacity(self) -> int:
        page = self._limits.page_tokens
        return self._limits.kv_tokens // page * page

    @property
    def _ready(self) -> Machine:
        if self._machine is None:
            raise RuntimeError("the engine is suspended")
        return self._machine

    def _step(self) -> bool:
        self._take_in()
        self._grow()
        self._admit()
        looked = self._look()
        work = plan(self._running, self._chunk)
        if not work.members:
            return looked
        begun = time.monotonic()
        self._run(work)
        self._steps += 1
        self._rate.add(work.prefilled + len(work.rows), time.monotonic() - begun)
        return True

    def _take_in(self) -> None:
        """Queue what was handed in; clear up what was cancelled."""
        new, cancelled = self._intake.collect()
        for ticket in new:
            self._queue.push(ticket.sequence.client, ticket.capacity, ticket)
        for ticket in cancelled:
            self._forget(ticket)
        if new or cancelled:
            self._tell_positions()

    def _forget(self, ticket: Ticket) -> None:
        if self._queue.remove(ticket):
            self._intake.left_queue(ticket)
        self._paused = [one for one in self._paused if one.ticket is not ticket]
        for one in self._running:
            if one.ticket is ticket:
                self._leave(one)
                break

    def _tell_positions(self) -> None:
        """Tell those who wait where they stand, when it is new to them or better than before: behind the paused."""
        for position, ticket in enumerate(self._queue.order(), start=len(self._paused)):
            if ticket.position < 0 or position < ticket.position:
                ticket.position = position
                self._intake.tell(ticket, Queued(position=position))

    def _grow(self) -> None:
        """Room for the next token of everyone, at the cost of those who came last."""
        for one in sorted((one for one in self._running if one.cramped), key=_age):
            if one in self._running:  # nor paused for one that is older
                self._widen(one)

    def _widen(self, one: Running) -> None:
        """The oldest of all finds room at last: no sequence is longer than the whole arena."""
        store, wanted = self._ready.store, self._ready.admission.capacity(one.ticket, len(one.grant.slots))
        while (grown := store.grow(one.grant, wanted)) is None:
            last = max(self._running, key=_age)
            self._pause(last)
            if last is one:
                return
        one.grant, self._used = grown, store.used
        failed = guarded(lambda: self._ready.seats.widen(one.seat, grown))
        if failed is not None:
            self._end(one, Failed(error=failed))

    def _pause(self, one: Running) -> None:
        """It goes on when there is room, from what is left of it then; nobody who is new goes before it."""
        self._leave(one)
        self._pauses += 1
        one.paused_at = time.monotonic()
        insort(self._paused, one, key=_age)
        self._tell_positions()

    def _resume(self) -> bool:
        """Whether everyone who was paused goes on."""
        while self._paused:
            one = self._paused[0]
            found = guarded(partial(self._ready.admission.readmit, one))
            if found is False:
                return False
            self._paused.remove(one)
            if isinstance(found, InferenceError):
                self._intake.close(one.ticket, Failed(error=found))
            else:
                one.waited += time.monotonic() - one.paused_at
                insort(self._running, one, key=_age)
                self._used = self._ready.store.used
        return True

    def _admit(self) -> None:
        """Let in whose turn it is, while there is room."""
        before = len(self._queue) + len(self._paused)
        if self._resume():
            self._admit_new()
        if len(self._queue) + len(self._paused) < before:
            self._tell_positions()

    def _admit_new(self) -> None:
        while (ticket := self._queue.peek()) is not None:
            admitted = guarded(lambda: self._ready.admission.admit(ticket))
            if admitted is None:
                break
            self._queue.pop()
            self._intake.left_queue(ticket)
            self._enter(ticket, admitted)

    def _look(self) -> bool:
        """Have the model look at one picture: those who read along wait for no more than that."""
        for one in self._running:
            if (pictures := one.pictures) is not None and pictures.unseen:
                failed = guarded(lambda: pictures.look(self._model))
                if failed is not None:
                    self._end(one, Failed(error=failed))
                return True
        return False

    def _enter(self, ticket: Ticket, admitted: Running | InferenceError) -> None:
        if isinstance(admitted, InferenceError):
            self._intake.close(ticket, Failed(error=admitted))
            return
        self._running.append(admitted)
        self._reused += admitted.reused
        self._used = self._ready.store.used
        self._intake.tell(
            ticket, Started(prompt_tokens=admitted.prompt, reused_tokens=admitted.reused, seed=admitted.seed)
        )

    def _run(self, work: Plan) -> None:
        """Run a plan. If it fails, find out on which sequences: they end, the others go on."""
        found = guarded(lambda: self._ready.runner.run(work))
        if not isinstance(found, InferenceError):
            self._advance(work, found)
        elif len(work.members) > 1:
            for half in work.halves():
                self._run(half)
        else:
            self._end(work.members[0], Failed(error=found))

    def _advance(self, work: Plan, drawn: list[Drawn]) -> None:
        for row in work.rows:
            row.computed += 1
        for part in work.parts:
            part.running.computed = part.end
            if part.last:
                part.running.pictures = None
        self._prefilled += work.prefilled
        self._generated += len(drawn)
        for one, token, logprob in drawn:
            self._deliver(one, token, logprob)

    def _deliver(self, one: Running, token: int, logprob: float) -> None:
        if one.ticket.cancelled:
            return  # the next step clears up
        if math.isnan(logprob):
            broken = GenerationFailed("The model's scores are not numbers.", hint="Try again, or in another precision.")
            self._end(one, Failed(error=broken))
            return
        delta, finished = collect(one, token, logprob, self._known)
        self._intake.tell(one.ticket, delta)
        if finished is not None:
            self._end(one, finished)

    def _end(self, one: Running, event: Failed | Finished) -> None:
        self._leave(one, sound=isinstance(event, Finished))
        self._intake.close(one.ticket, event)

    def _leave(self, one: Running, *, sound: bool = True) -> None:
        """Free seat and room; what was computed, if it is sound, is parked for the next turn."""
        self._running.remove(one)
        self._ready.seats.leave(one.seat)
        if sound and self._limits.reuse and one.computed:
            self._ready.store.park(one.ticket.sequence.namespace, one.recognised[: one.computed], one.grant)
        else:
            self._ready.store.release(one.grant)
        self._used = self._ready.store.used


def _age(one: Running) -> float:
    return one.admitted
