"""What /metrics counts: requests as they go by, and what models take up when it is asked. Knows no protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.inference.errors import InferenceError
from app.inference.service import Service
from app.inference.types import Delta, Event, Finished, ModelStatus, Residency, Started

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_RATES = (1, 2, 5, 10, 20, 40, 80, 160, 320)


class Metrics:
    """A registry of its own: two servers in one process count apart."""

    def __init__(self, service: Service) -> None:
        registry = self.registry = CollectorRegistry()
        by = ("model", "protocol")
        self.requests = Counter("core_requests", "Requests that ended.", (*by, "outcome"), registry=registry)
        self.prompt_tokens = Counter("core_prompt_tokens", "Tokens of prompts.", by, registry=registry)
        self.reused_tokens = Counter("core_reused_tokens", "Of those, taken from a cache.", by, registry=registry)
        self.tokens = Counter("core_generated_tokens", "Tokens of answers.", by, registry=registry)
        self.queue = Histogram(
            "core_queue_seconds", "From acceptance to the start.", by, buckets=_SECONDS, registry=registry
        )
        self.first = Histogram(
            "core_first_token_seconds", "From arrival to the first token.", by, buckets=_SECONDS, registry=registry
        )
        self.rate = Histogram(
            "core_tokens_per_second", "Of one request, decoding.", by, buckets=_RATES, registry=registry
        )
        registry.register(_Status(service))

    def meter(self, model: str, protocol: str) -> Meter:
        return Meter(self, model, protocol)


class Meter:
    """Counts one request, from its arrival until the context is left."""

    def __init__(self, metrics: Metrics, model: str, protocol: str) -> None:
        by = (model, protocol)
        self._requests = partial(metrics.requests.labels, *by)
        self._prompt_tokens = metrics.prompt_tokens.labels(*by)
        self._reused_tokens = metrics.reused_tokens.labels(*by)
        self._tokens = metrics.tokens.labels(*by)
        self._queue = metrics.queue.labels(*by)
        self._first = metrics.first.labels(*by)
        self._rate = metrics.rate.labels(*by)
        self._begun = time.monotonic()
        self._answering = False
        self._outcome = "failed"  # where no one says otherwise

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests(self._outcome).inc()

    def seen(self, event: Event) -> None:
        match event:
            case Delta():
                self._tokens.inc(len(event.tokens))
                if not self._answering:
                    self._first.observe(time.monotonic() - self._begun)
                self._answering = True
            case Started():
                self._prompt_tokens.inc(event.prompt_tokens)
                self._reused_tokens.inc(event.reused_tokens)
            case Finished():
                self._outcome = event.reason.value
                self._queue.observe(event.usage.queue_s)
                if event.usage.tokens_per_s:
                    self._rate.observe(event.usage.tokens_per_s)
            case _:
                pass

    def failed(self, error: InferenceError) -> None:
        self._outcome = error.code

    def left(self) -> None:
        """The client did not wait."""
        self._outcome = "cancelled"


_GAUGES: Mapping[str, tuple[str, Callable[[ModelStatus], float]]] = {
    "core_running": ("Sequences being answered.", lambda status: status.running),
    "core_pauses": ("How often an answer had to wait for room in the cache.", lambda status: status.pauses),
    "core_waiting": ("Sequences in the queue.", lambda status: status.waiting),
    "core_kv_tokens": ("Tokens that the KV cache holds at most.", lambda status: status.kv_tokens),
    "core_kv_tokens_used": ("Tokens in it.", lambda status: status.kv_tokens_used),
    "core_kv_bytes": ("Bytes of the KV cache.", lambda status: status.kv_bytes),
    "core_weight_bytes": ("Bytes of weights and adapters; models over one base share them.", lambda s: s.weight_bytes),
    "core_resident": ("1 when the model is resident.", lambda s: float(s.residency is Residency.RESIDENT)),
}


@dataclass(slots=True, eq=False)  # a registry keys its collectors by identity
class _Status(Collector):
    """Read when it is asked for."""

    service: Service

    def collect(self) -> Iterator[Metric]:
        statuses = self.service.status()
        for name, (what, value) in _GAUGES.items():
            yield _gauge(name, what, ((status.card.name, value(status)) for status in statuses))


def _gauge(name: str, what: str, values: Iterable[tuple[str, float]]) -> Metric:
    gauge = GaugeMetricFamily(name, what, labels=("model",))
    for model, value in values:
        gauge.add_metric((model,), value)
    return gauge
