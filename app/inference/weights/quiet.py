"""What libraries say while they load or run these models that is known, harmless, and of no use to who reads the log.

Each filter names one logger and one sentence; everything else is heard.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from transformers.utils import logging as transformers_logging

# transformers has one hook for all its progress bars: whoever sets it does so alone.
_HOOK: Final = threading.RLock()


@dataclass(frozen=True, slots=True)
class _Without:
    """A filter of records whose message holds `words`. Equal ones are one, so a logger has it once."""

    words: str

    def filter(self, record: logging.LogRecord) -> bool:
        return self.words not in record.getMessage()


_REPORT = _Without("LOAD REPORT")  # of tensors with no place; `base` says it itself, as an error
_CAST = _Without("inputs will be cast from")
_KERNELS = _Without("Failed to load CPU gemm_4bit_forward")


def mute_bitsandbytes() -> None:
    """Before its import: it misses a package of prebuilt kernels on some CPUs, and falls back to its own.

    And at every int8 product on a CPU: that fp32 activations are cast to the fp16 such products take.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_KERNELS)
    logging.getLogger("bitsandbytes.autograd._functions").addFilter(_CAST)


@contextmanager
def loading(report: Callable[[float], None]) -> Iterator[None]:
    """A quiet load by transformers, which reports the fraction of tensors it has placed. One at a time."""
    logger = logging.getLogger("transformers.modeling_utils")
    with _HOOK:
        logger.addFilter(_REPORT)
        hook = transformers_logging.set_tqdm_hook(_metered(report))
        try:
            yield
        finally:
            transformers_logging.set_tqdm_hook(hook)
            logger.removeFilter(_REPORT)


def _metered(report: Callable[[float], None]) -> Callable[..., Any]:
    def make(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and isinstance(args[0], Sized) and isinstance(args[0], Iterable):
            return _counted(args[0], len(args[0]), report)
        return factory(*args, **kwargs)

    return make


def _counted(items: Iterable[Any], total: int, report: Callable[[float], None]) -> Iterator[Any]:
    for done, item in enumerate(items):
        report(done / total)
        yield item
