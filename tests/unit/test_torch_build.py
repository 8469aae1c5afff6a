"""Which build of torch a Space gets: what uv is asked, and what follows from its answers. uv itself is scripted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spaces_runner.environment.attempt import Answer, Question, ask
from spaces_runner.environment.pythons import Python
from spaces_runner.environment.request import Request
from spaces_runner.environment.uv import LineSink, Outcome, Uv, own_room
from spaces_runner.environment.workshop import Workshop
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, RefKind, SpaceRef

UNREACHABLE = (
    "error: Failed to fetch: `https://download.pytorch.org/whl/cu130/torch/`",
    "  Caused by: error sending request for url (https://download.pytorch.org/whl/cu130/torch/)",
)
NO_VERSION = ("  Because there is no version of torch==2.1.0+cu118, your requirements are unsatisfiable.",)
NO_GRADIO = ("  Because gradio==99 has no wheels, your requirements are unsatisfiable.",)
PINNED = ("--extra-index-url https://download.pytorch.org/whl/cu118", "torch==2.1.0+cu118", "gradio==6.31.0")
PLAIN = ("torch>=2", "gradio==6.31.0")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedUv(Uv):
    """`failures`: what it says when it is asked with and without a build of torch of its choice; None: it succeeds."""

    failures: dict[bool, tuple[str, ...] | None]
    asked: list[bool] = field(default_factory=list)

    def run(self, arguments: tuple[str, ...], timeout_s: float, stdin: str = "") -> Outcome:
        chooses = "--torch-backend" in arguments
        self.asked.append(chooses)
        said = self.failures[chooses]
        return Outcome(code=1, stdout="", lines=said) if said else Outcome(code=0, stdout=f"{chooses}", lines=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop(Workshop):
    uv: ScriptedUv

    def runners(self, on_line: LineSink | None = None) -> Uv:
        return self.uv


Failures = dict[bool, tuple[str, ...] | None]


def answer(folder: Path, lines: tuple[str, ...], failures: Failures) -> tuple[Answer, list[bool], list[str]]:
    """What is resolved, what uv was asked for it, and what the log says."""
    settings = Settings(home=str(folder))
    log: list[str] = []
    uv = ScriptedUv(settings=settings, room=own_room(settings, folder), on_line=log.append, failures=failures)
    checkout = Checkout(ref=SpaceRef(kind=RefKind.HUB, source="o/n"), commit="c" * 40, path=str(folder))
    shop = Shop(settings=settings, report=Reporter(log=log.append), checkout=checkout, scratch=folder, user=None, uv=uv)
    request = Request(
        lines=lines, additions=(), limits=(), constraints=(), prerelease=False, builds=False, own=False,
        python=Python(path=sys.executable, version="3.11.7", prefix=sys.prefix, tag="cpython-311"),
    )  # fmt: skip
    return ask(Question(lines=lines, request=request), shop), uv.asked, log


@pytest.mark.parametrize("lines", [PLAIN, PINNED])
def test_the_build_for_this_machine_where_there_is_one(tmp_path: Path, lines: tuple[str, ...]) -> None:
    found, asked, _ = answer(tmp_path, lines, {True: None, False: NO_VERSION})
    assert (found.lock, found.torch_missed, asked) == ("True", False, [True])


def test_the_package_index_where_that_of_the_builds_is_out_of_reach(tmp_path: Path) -> None:
    found, asked, log = answer(tmp_path, PLAIN, {True: UNREACHABLE, False: None})
    assert (found.lock, found.torch_missed, asked) == ("False", True, [True, False])
    assert any("out of reach" in line for line in log)


def test_a_pinned_build_that_is_not_this_machines_comes_from_the_index_its_author_names(tmp_path: Path) -> None:
    found, asked, log = answer(tmp_path, PINNED, {True: NO_VERSION, False: None})
    assert (found.lock, found.torch_missed, asked) == ("False", False, [True, False])
    assert any("pins" in line for line in log)


def test_a_pinned_build_that_nobody_has_is_told_as_it_was_met_first(tmp_path: Path) -> None:
    found, _, _ = answer(tmp_path, PINNED, {True: NO_VERSION, False: UNREACHABLE})
    assert not found.ok
    assert found.outcome.lines == NO_VERSION


def test_another_conflict_is_no_reason_to_ask_again(tmp_path: Path) -> None:
    found, asked, _ = answer(tmp_path, PLAIN, {True: NO_GRADIO, False: None})
    assert (found.ok, asked) == (False, [True])
