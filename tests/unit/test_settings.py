"""Settings: what is asked of the environment is what the reference tells of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from spaces_runner import spawn
from spaces_runner.core import plan
from spaces_runner.settings import Settings, read_settings
from spaces_runner.variables import OWN, RESERVED, STANDARD, Variable

ROOT = Path(__file__).parents[2]
TOLD = (*OWN, *STANDARD)
NAMES = {name for variable in TOLD for name in variable.names}
SOURCES = [
    path.read_text()
    for package in ("spaces_runner", "app")
    for path in (ROOT / package).rglob("*.py")
    if path.name != "variables.py"
]


@dataclass(slots=True)
class Asked(Mapping[str, str]):
    """An environment that remembers what it was asked for."""

    values_set: Mapping[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self.values_set[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_set)

    def __len__(self) -> int:
        return len(self.values_set)


def test_all_that_is_asked_for_is_told() -> None:
    asked = Asked()
    read_settings(asked)
    assert asked.names - NAMES == {"HOME"}, "where pyenv is, without PYENV_ROOT"


def test_every_name_of_ours_in_the_source_is_told() -> None:
    found = {name for text in SOURCES for name in re.findall(r"SPACES_RUNNER_[A-Z0-9_]*[A-Z0-9]", text)}
    assert found - NAMES == {name for name in RESERVED if name.startswith("SPACES_RUNNER_")}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_is_told_is_asked_for(name: str) -> None:
    asked = Asked()
    read_settings(asked)
    passed_on = {*spawn.KEPT, *plan.KEPT}
    assert name in asked.names | passed_on or any(f'"{name}"' in text for text in SOURCES)


@pytest.mark.parametrize("variable", [one for one in TOLD if one.field], ids=lambda variable: str(variable.names[0]))
def test_each_sets_the_field_whose_default_is_told(variable: Variable) -> None:
    default = {one.name: one.default for one in fields(Settings)}[variable.field]
    value = "23456" if isinstance(default, int) else "of-mine"
    found = getattr(read_settings({variable.names[0]: value}), variable.field)
    assert found == {int: 23456, tuple: ("of-mine",)}.get(type(default), "of-mine")


def test_a_number_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="SPACES_RUNNER_LOG_FILES must be a whole number, not 'many'"):
        read_settings({"SPACES_RUNNER_LOG_FILES": "many"})
