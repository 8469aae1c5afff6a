"""Where weights are: a directory as it is, a repository of the Hub as the directory that its files are fetched to.

Knows huggingface_hub and which files are needed; not what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import httpx2  # what huggingface_hub speaks HTTP with, and whose errors it lets through
from huggingface_hub import HfApi, ModelInfo, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from app.inference.errors import WeightsMissing
from app.inference.types import ModelCard
from app.inference.weights.progress import Report

# Best first: of these only the first kind that a repository has is fetched.
_TENSORS: Final = (r"model.*\.safetensors", r"pytorch_model.*\.bin")
_ADAPTER_TENSORS: Final = (r"adapter_model\.safetensors", r"adapter_model\.bin")
_ASIDE: Final = re.compile(r"[^/]+\.json|tokenizer\.model|merges\.txt")
_UNREACHABLE: Final = (httpx2.TransportError, OfflineModeIsEnabled)
_REFUSED: Final = (
    *_UNREACHABLE,
    HfHubHTTPError,
    EntryNotFoundError,
    HFValidationError,
    XetDownloadError,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A Hub to fetch from. None: as huggingface_hub finds it (HF_ENDPOINT, HF_TOKEN, HF_HOME)."""

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a card says of where its weights, or its adapter, are. `key` is the card's word for it."""

    model: str
    key: str
    place: str
    revision: str | None
    tensors: tuple[str, ...]

    @property
    def is_directory(self) -> bool:
        return Path(self.place).is_absolute()

    def missing(self, what: str) -> WeightsMissing:
        """The error that says what is not there, and how to say where it is."""
        wrong = self.place if self.is_directory else f"the repository {self.place}"
        return WeightsMissing(
            f"The {self.key} of {self.model} cannot be had from {wrong}: {what}.",
            hint=f"If you have a copy, write into your own file of models: [models.{_toml(self.model)}] and, on the "
            f'next line, {self.key} = "/path/to/a/directory" or the name of another repository.',
        )


def weights_of(card: ModelCard) -> Source:
    return Source(model=card.name, key="weights", place=card.weights, revision=card.revision, tensors=_TENSORS)


def adapter_of(card: ModelCard) -> Source | None:
    if card.adapter is None:
        return None
    revision = card.adapter_revision
    return Source(model=card.name, key="adapter", place=card.adapter, revision=revision, tensors=_ADAPTER_TENSORS)


def directory(source: Source, hub: Hub, report: Report) -> Path:
    """The directory with all files of `source`. Fetches what is missing; raises WeightsMissing."""
    if source.is_directory:
        return _local(source)
    try:
        listed = _listed(source, hub)
    except _UNREACHABLE as error:
        return _cached(source, hub, error)
    except HfHubHTTPError as error:
        if error.response.status_code >= 500:
            return _cached(source, hub, error)
        raise source.missing(_reason(error, source)) from error
    try:
        return _fetched(source, listed, hub, report)
    except _REFUSED as error:
        raise source.missing(_reason(error, source)) from error


def file(source: Source, name: str, hub: Hub) -> Path:
    """One small file of `source`, without the rest. Raises WeightsMissing."""
    if source.is_directory:
        path = _local(source) / name
        if not path.is_file():
            raise source.missing(f"it has no {name}")
        return path
    try:
        cached = try_to_load_from_cache(source.place, name, cache_dir=hub.cache, revision=source.revision)
        return Path(cached if isinstance(cached, str) else _download(source, name, source.revision, hub))
    except _REFUSED as error:
        raise source.missing(_reason(error, source)) from error


def _local(source: Source) -> Path:
    path = Path(source.place)
    if not path.is_dir():
        raise source.missing("there is no such directory")
    return path


def _listed(source: Source, hub: Hub) -> ModelInfo:
    """What the Hub has under that name. Raises WeightsMissing for what is no name, and as huggingface_hub does."""
    try:
        api = HfApi(endpoint=hub.endpoint, token=hub.token)
        return api.model_info(source.place, revision=source.revision, files_metadata=True)
    except HFValidationError as error:
        raise source.missing("that is no name of a repository") from error


def _fetched(source: Source, info: ModelInfo, hub: Hub, report: Report) -> Path:
    sizes = {sibling.rfilename: sibling.size or 1 for sibling in info.siblings or ()}
    names = needed(sizes, source.tensors)
    if all(_ASIDE.fullmatch(name) for name in names):
        raise source.missing(f"it has none of {' or '.join(_readable(source.tensors))}")
    total, done, path = sum(sizes[name] for name in names), 0, ""
    revision = source.revision  # with the first file the cache learns which commit it stands for; the rest is of that
    for name in names:
        tell = partial(report, f"Fetching {name}")
        tell(done / total)
        path = _download(source, name, revision, hub, _meter(tell, done, total))
        done, revision = done + sizes[name], info.sha
    return Path(path).parent


def needed(names: Iterable[str], tensors: Sequence[str]) -> list[str]:
    """Of a repository's files those that a load reads: no code, no second copy of the weights in another format."""
    top = sorted(name for name in names if "/" not in name)
    for pattern in tensors:
        if found := [name for name in top if re.fullmatch(pattern, name)]:
            return [*(name for name in top if _ASIDE.fullmatch(name) and not _other_index(name, pattern)), *found]
    return [name for name in top if _ASIDE.fullmatch(name)]


def _other_index(name: str, pattern: str) -> bool:
    """Whether `name` lists the shards of a format that is not the one of `pattern`."""
    return name.endswith(".index.json") and not re.fullmatch(pattern, name.removesuffix(".index.json"))


def _download(source: Source, name: str, revision: str | None, hub: Hub, meter: type[Any] | None = None) -> str:
    return hf_hub_download(
        source.place,
        name,
        revision=revision,
        endpoint=hub.endpoint,
        token=hub.token,
        cache_dir=hub.cache,
        tqdm_class=meter or _meter(lambda _fraction: None, 0, 1),
    )


def _cached(source: Source, hub: Hub, error: Exception) -> Path:
    """What an earlier fetch left, for a Hub that does not answer now."""
    try:
        path = snapshot_download(source.place, revision=source.revision, cache_dir=hub.cache, local_files_only=True)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ValueError):
        raise source.missing("the Hub does not answer, and no earlier copy is here") from error
    return Path(path)


def _reason(error: BaseException, source: Source) -> str:
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        return _reason(error.__cause__, source)  # what the Hub said before the cache was looked into
    if isinstance(error, GatedRepoError):
        return "the Hub wants a token of someone who has accepted its terms (HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {source.revision}"
    if isinstance(error, RepositoryNotFoundError) or _status(error) == 401:
        return "it is gone, or private"
    if isinstance(error, HFValidationError):
        return "that is no name of a repository"
    if isinstance(error, (*_UNREACHABLE, LocalEntryNotFoundError)):
        return "the Hub does not answer"
    if isinstance(error, EntryNotFoundError):
        return "a file that is needed is not in it"
    if status := _status(error):
        return f"the Hub answered {status}"
    return str(error)


def _status(error: BaseException) -> int | None:
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def _toml(name: str) -> str:
    """A model's name as a key of a TOML table: one with a dot is quoted."""
    return f'"{name}"' if "." in name else name


def _readable(patterns: Sequence[str]) -> list[str]:
    return [pattern.replace(".*", "*").replace("\\", "") for pattern in patterns]


@dataclass(slots=True)
class _Meter:
    """In the place of a progress bar: reports the bytes of one file as a part of all."""

    tell: Callable[[float], None]
    total: int
    done: int

    def __enter__(self) -> _Meter:
        return self

    def __exit__(self, *error: object) -> None:
        """There is nothing to close."""

    def update(self, n: float | None = 1) -> None:
        self.done += int(n or 0)
        self.tell(self.done / self.total)

    def set_postfix_str(self, *words: object, **options: object) -> None:
        """A speed, which is of no interest here."""


def _meter(tell: Callable[[float], None], done: int, total: int) -> type[Any]:
    """What huggingface_hub makes its bar of; any callable will do, its signature asks for a class."""
    return cast(type[Any], lambda **bar: _Meter(tell, total, done + int(bar.get("initial", 0))))
