"""The models on offer, as data: `models.toml`, and the user's own file in front of it, key by key.

Knows what a card may say, which directory stands for which repository, and nothing of what is in either.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from app.inference import prompts
from app.inference.errors import BadCatalog, BadSampling
from app.inference.types import Endpoint, Family, ModelCard, Precision, SamplingParams

SHIPPED: Final = Path(__file__).with_name("models.toml")


class Preset(StrEnum):
    """What the models are to fit: any CPU (small weights of our own), a card of 16 GB, one of 80 GB."""

    DEMO = "demo"
    FOUR_BIT = "4bit"
    FULL = "full"


def read(preset: Preset, own_file: Path | None = None, models_dir: Path | None = None) -> tuple[ModelCard, ...]:
    """Every model under `preset`, the shipped ones first, each with its weights' place.

    A repository of the Hub for which there is a directory in `models_dir` (or in the one that `own_file` names) is
    that directory. Raises BadCatalog, which names file, model and key and says what is allowed.
    """
    files = [_parse(path) for path in (SHIPPED, own_file) if path is not None]
    named = (file.models_dir for file in reversed(files) if file.models_dir)
    local = _Local(models_dir or next(map(Path, named), None))
    names = dict.fromkeys(name for file in files for name in file.models)
    cards = tuple(_card(name, preset, files, local) for name in names)
    _check_bases(cards, files[-1].path)
    return cards


# What a file may say


def _one_of(what: Sequence[str]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in what:
            raise PydanticCustomError("choice", "it must be one of {allowed}", {"allowed": ", ".join(what)})
        return value

    return AfterValidator(check)


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", value):
        raise PydanticCustomError("name", "a model's name is up to 96 letters, digits, '.', '-' and '_'")
    return value


def _url(value: str) -> str:
    if not re.fullmatch(r"https?://\S+", value):
        raise PydanticCustomError("url", "it must begin with http:// or https://")
    return value


_Name = Annotated[str, AfterValidator(_name)]
_Family = Annotated[str, _one_of([one.value for one in Family])]
_Precision = Annotated[str, _one_of([one.value for one in Precision])]
_Prompt = Annotated[str, _one_of(prompts.NAMES)]
_Tokens = Annotated[int, Field(ge=1)]
_Url = Annotated[str, AfterValidator(_url)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Defaults(_Table):
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    stop: list[str] | None = None


class _Remote(_Table):
    url: _Url | None = None
    protocol: Literal["openai", "tgi"] | None = None
    model: str | None = None
    token_file: str | None = None


class _Weights(_Table):
    """What a model says of its weights, in general or under one preset."""

    weights: str | None = None
    revision: str | None = None
    adapter: str | None = None
    adapter_revision: str | None = None
    precision: _Precision | None = None
    context: _Tokens | None = None
    demo: bool | None = None
    defaults: _Defaults = _Defaults()


class _Model(_Weights):
    title: str | None = None
    family: _Family | None = None
    prompt: _Prompt | None = None
    remote: _Remote = _Remote()
    presets: dict[Literal["demo", "4bit", "full"], _Weights] = {}


class _PresetTable(_Table):
    precision: _Precision | None = None


class _File(_Table):
    models_dir: str | None = None
    presets: dict[Literal["demo", "4bit", "full"], _PresetTable] = {}
    models: dict[_Name, _Model] = {}


# Reading one file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parsed:
    """A file that can be meant; its directories are absolute."""

    path: Path
    models_dir: str | None
    presets: Mapping[str, _PresetTable]
    models: Mapping[str, _Model]


def _parse(path: Path) -> _Parsed:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        file = _File.model_validate(content)
    except OSError as error:
        raise BadCatalog(f"The file of models {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadCatalog(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        raise BadCatalog(_sentence(path, error.errors()[0])) from error
    return _Parsed(
        path=path,
        models_dir=_place(file.models_dir, path, always=True),
        presets={str(name): table for name, table in file.presets.items()},
        models={name: _placed(model, path) for name, model in file.models.items()},
    )


def _placed(model: _Model, path: Path) -> _Model:
    """The model with its directories seen from the file that names them."""
    presets = {name: table.model_copy(update=_places(table, path)) for name, table in model.presets.items()}
    token_file = _place(model.remote.token_file, path, always=True)
    remote = model.remote.model_copy(update={"token_file": token_file} if token_file else {})
    return model.model_copy(update={**_places(model, path), "presets": presets, "remote": remote})


def _places(table: _Weights, path: Path) -> dict[str, str]:
    said = {key: value for key in ("weights", "adapter") if (value := getattr(table, key)) is not None}
    return {key: _place(value, path) or "" for key, value in said.items()}


def _place(value: str | None, path: Path, *, always: bool = False) -> str | None:
    """A directory as an absolute path; the name of a repository as it is."""
    if not value or not (always or value.startswith(("./", "../", "~", "/")) or value in {".", ".."}):
        return value
    return str((path.parent / Path(value).expanduser()).resolve())


# Putting files together


def _card(name: str, preset: Preset, files: Sequence[_Parsed], local: _Local) -> ModelCard:
    path = next(file.path for file in reversed(files) if name in file.models)
    said = _merged(list(_layers(name, preset, files)))
    remote = _endpoint(name, path, _merged([file.models[name].remote for file in files if name in file.models]))
    needed = ("family", "prompt", "context", *(() if remote else ("weights",)))
    if missing := [key for key in needed if not said.get(key)]:
        raise BadCatalog(f"{path}: the model {name!r} lacks {_listed(missing)}.", hint=_needed_hint(needed))
    adapter = said.get("adapter") or None
    weights, revision = local.place(said.get("weights") or "", said.get("revision"), None if adapter else name)
    adapter, adapter_revision = local.place(adapter, said.get("adapter_revision"), name) if adapter else (None, None)
    return ModelCard(
        name=name,
        title=said.get("title") or name,
        family=Family(said["family"]),
        weights=weights,
        revision=revision,
        adapter=adapter,
        adapter_revision=adapter_revision,
        precision=Precision(said.get("precision") or _preset_precision(preset, files)),
        prompt=said["prompt"],
        context=said["context"],
        defaults=_defaults(name, path, said),
        demo=bool(said.get("demo")),
        remote=remote,
    )


def _layers(name: str, preset: Preset, files: Sequence[_Parsed]) -> Iterator[_Weights]:
    """What is said of a model, what goes before coming later: a preset's word before the general one."""
    models = [file.models[name] for file in files if name in file.models]
    yield from models
    yield from (model.presets[preset.value] for model in models if preset.value in model.presets)


def _merged(layers: Sequence[_Table]) -> dict[str, Any]:
    """Key by key, the later before the earlier. A revision goes with what it is a revision of."""
    merged: dict[str, Any] = {}
    for layer in layers:
        said = layer.model_dump(exclude_none=True, exclude={"presets", "remote"})
        for what, revision in (("weights", "revision"), ("adapter", "adapter_revision")):
            if what in said and said[what] != merged.get(what):
                merged.pop(revision, None)
        defaults = {**merged.get("defaults", {}), **said.pop("defaults", {})}
        merged |= {**said, "defaults": defaults}
    return merged


def _preset_precision(preset: Preset, files: Sequence[_Parsed]) -> str:
    said = (file.presets[preset.value].precision for file in reversed(files) if preset.value in file.presets)
    return next(filter(None, said))  # the shipped file has one for each


def _defaults(name: str, path: Path, said: Mapping[str, Any]) -> SamplingParams:
    values = dict(said["defaults"])
    stop = tuple(values.pop("stop", prompts.stops(said["prompt"])))
    try:
        return SamplingParams(**values, stop=stop)
    except BadSampling as error:
        raise BadCatalog(f"{path}: model {name!r}, key 'defaults.{error.param}': {error.message}") from error


def _endpoint(name: str, path: Path, said: Mapping[str, Any]) -> Endpoint | None:
    values = {key: value for key, value in said.items() if key != "defaults"}
    if not values:
        return None
    if missing := [key for key in ("url", "protocol", "model") if key not in values]:
        raise BadCatalog(f"{path}: the model {name!r} lacks {_listed([f'remote.{key}' for key in missing])}.")
    return Endpoint(**values)


def _check_bases(cards: Sequence[ModelCard], path: Path) -> None:
    """Weights that are resident once are of one family."""
    families: dict[tuple[str, str | None, Precision], ModelCard] = {}
    for card in (card for card in cards if card.remote is None):
        first = families.setdefault(card.base, card)
        if first.family is not card.family:
            raise BadCatalog(
                f"{path}: the models {first.name!r} and {card.name!r} share the weights {card.weights} and cannot be "
                f"of two families, {first.family} and {card.family}."
            )


@dataclass(frozen=True, slots=True)
class _Local:
    """The user's directory of models, if there is one."""

    root: Path | None

    def place(self, source: str, revision: str | None, name: str | None) -> tuple[str, str | None]:
        """Where `source` is and its revision; a directory has none. `name`: another name it may have there."""
        if Path(source).is_absolute():
            return source, None
        candidates = [source, source.rpartition("/")[2], *([name] if name else [])]
        directories = [self.root / candidate for candidate in candidates if candidate] if self.root else []
        found = next((path for path in directories if path.is_dir()), None)
        return (str(found.resolve()), None) if found else (source, revision)


# Sentences


def _sentence(path: Path, error: ErrorDetails) -> str:
    """One complaint of pydantic's, for the person who wrote the file."""
    place = [str(part) for part in error["loc"] if part != "[key]"]
    model = place[1] if place[:1] == ["models"] and len(place) > 2 else None
    where = f"{path}: model {model!r}, " if model else f"{path}: "
    dotted = ".".join(place[2:] if model else place)
    if error["type"] == "extra_forbidden":
        allowed = _keys_at(error["loc"][:-1])
        return f"{where}key {dotted!r} is unknown. The keys there are: {', '.join(allowed)}."
    return f"{where}key {dotted!r} is {error['input']!r}; {_reason(error)}."


def _reason(error: ErrorDetails) -> str:
    if error["type"] in {"model_type", "dict_type"}:
        return "it must be a table"
    reason = error["msg"][0].lower() + error["msg"][1:]
    return reason.replace("input should", "it must").replace("string should", "it must")


def _keys_at(place: Sequence[str | int]) -> Sequence[str]:
    """The keys of the table at `place`."""
    if not place:
        return tuple(_File.model_fields)
    if place[0] == "presets":
        return tuple(_PresetTable.model_fields)
    tables: dict[str | int, type[_Table]] = {"defaults": _Defaults, "remote": _Remote}
    if place[-1] in tables and len(place) > 2:
        return tuple(tables[place[-1]].model_fields)
    return tuple((_Weights if "presets" in place else _Model).model_fields)


def _listed(keys: Sequence[str]) -> str:
    return f"the key{'s' if len(keys) > 1 else ''} {', '.join(map(repr, keys))}"


def _needed_hint(keys: Sequence[str]) -> str:
    return f"A model of your own says at least {', '.join(keys)}."
