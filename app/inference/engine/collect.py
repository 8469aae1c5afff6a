"""From a token to events: text, stop strings, the end of a sequence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.inference.engine.detokenise import Decode
from app.inference.engine.live import Running
from app.inference.types import Delta, Finished, FinishReason, Token, Usage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What there is to know of single tokens."""

    decode: Decode  # of several, special ones left out
    special: dict[int, str]  # the special tokens, and how they are written
    eos: frozenset[int]


def vocabulary(tokenizer: PreTrainedTokenizerBase, eos: frozenset[int]) -> Vocabulary:
    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    special = dict(zip(tokenizer.all_special_ids, map(str, tokenizer.all_special_tokens), strict=True))
    special |= {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return Vocabulary(decode, special, eos)


def collect(running: Running, token: int, logprob: float, known: Vocabulary) -> tuple[Delta, Finished | None]:
    """Take the next token of a sequence: what to show of it, and the end if it is one."""
    running.ids.append(token)
    if running.generated == 1:
        running.first_token, running.waited_first = time.monotonic(), running.waited
    reason = _ends_by(running, token, known)
    stop = known.special[token] if reason is FinishReason.STOP else None
    added = "" if reason in (FinishReason.EOS, FinishReason.STOP) else running.text.push(token)
    if reason is not None:
        added += running.text.flush()
    shown = running.stops.feed(added)
    if running.stops.hit is not None:
        reason, stop = FinishReason.STOP, running.stops.hit
    elif reason is not None:
        shown += running.stops.flush()
    text = known.special.get(token, added)
    delta = Delta(text=shown, tokens=(Token(id=token, text=text, logprob=logprob, special=token in known.special),))
    return delta, Finished(reason=reason, usage=usage(running), stop=stop) if reason else None


def usage(running: Running) -> Usage:
    """What a sequence took so far. That it was paused counts as waiting, and not as computing."""
    now = time.monotonic()
    first = running.first_token or now
    return Usage(
        prompt_tokens=running.prompt,
        generated_tokens=running.generated,
        reused_tokens=running.reused,
        queue_s=running.admitted - running.ticket.submitted + running.waited,
        prefill_s=first - running.admitted - running.waited_first,
        decode_s=now - first - (running.waited - running.waited_first),
    )


def _ends_by(running: Running, token: int, known: Vocabulary) -> FinishReason | None:
    sequence = running.ticket.sequence
    if token in known.eos:
        if not sequence.sampling.ignore_eos:
            return FinishReason.EOS
    elif known.special.get(token) in sequence.stop:  # which stands in no text where it could be found
        return FinishReason.STOP
    return FinishReason.LENGTH if running.generated >= running.ticket.limit else None
