"""Where a Space's own requirements take packages from besides the owner's index (pure)."""

from __future__ import annotations

from dataclasses import replace

from spaces_runner.requirements import Requirements

_BESIDES = ("--extra-index-url", "--find-links")


def besides(required: Requirements, url: str) -> str:
    """The option that names a further index or page on which `url` lies; "" where there is none."""
    named = (option for option in required.options if option.startswith(_BESIDES))
    return next((option for option in named if _lies_on(url, option)), "")


def names(required: Requirements, url: str) -> bool:
    """Whether the requirements name `url`: as one of them, or the index or page on which it lies."""
    links = {entry.url.partition("#")[0] for entry in required.entries}
    return bool(url) and (url in links or any(_lies_on(url, option) for option in required.options))


def without(required: Requirements, option: str) -> Requirements:
    return replace(required, options=tuple(other for other in required.options if other != option))


def _lies_on(url: str, option: str) -> bool:
    address = option.partition(" ")[2].rstrip("/")
    return bool(address) and (url == address or url.startswith(f"{address}/"))
