"""Which build of torch a Space gets: what uv is asked, and what follows from its answers. uv itself is scripted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spaces_runner.environment.attempt import Answer, Question, ask
from spaces_runner.environment.dated import ask_as_of
from spaces_runner.environment.pythons import Python
from spaces_runner.environment.request import Request, make, read_wishes
from spaces_runner.environment.uv import LineSink, Outcome, Uv, own_room
from spaces_runner.environment.workshop import Workshop
from spaces_runner.report import Reporter
from spaces_runner.settings import Settings
from spaces_runner.types import Checkout, Confinement, RefKind, Sdk, SpaceRef, SpaceSpec

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


NOBODY = Confinement(user=None, sandbox=None)
Failures = dict[bool, tuple[str, ...] | None]


def answer(folder: Path, lines: tuple[str, ...], failures: Failures) -> tuple[Answer, list[bool], list[str]]:
    """What is resolved, what uv was asked for it, and what the log says."""
    settings = Settings(home=str(folder))
    log: list[str] = []
    uv = ScriptedUv(settings=settings, room=own_room(settings, folder), on_line=log.append, failures=failures)
    checkout = Checkout(ref=SpaceRef(kind=RefKind.HUB, source="o/n"), commit="c" * 40, path=str(folder))
    shop = Shop(
        settings=settings, report=Reporter(log=log.append), checkout=checkout, scratch=folder, under=NOBODY, uv=uv
    )
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


NO_DATES = (
    "warning: `torch-2.1.0+cu121-cp311-cp311-linux_x86_64.whl` is missing an upload date, but user provided: 2023-11",
    "warning: `numpy-2.0.0-cp311-cp311-linux_x86_64.whl` is missing an upload date, but user provided: 2023-11",
    "error: No solution found when resolving dependencies",
    "  cause: Because there are no versions of torch and you require torch, we can conclude that your requirements are",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UndatedUv(ScriptedUv):
    """The index of torch's builds names no upload times: as of a day it has no torch, until torch is exempted."""

    questions: list[tuple[str, ...]] = field(default_factory=list)

    def run(self, arguments: tuple[str, ...], timeout_s: float, stdin: str = "") -> Outcome:
        self.questions.append(arguments)
        if "torch=false" in arguments:
            return Outcome(code=0, stdout="lock", lines=())
        for line in NO_DATES:
            self.on_line(line)
        return Outcome(code=1, stdout="", lines=NO_DATES)


def test_torch_is_exempted_from_the_day_since_its_index_names_none_and_known_releases_limit_it(tmp_path: Path) -> None:
    settings, log = Settings(home=str(tmp_path)), list[str]()
    uv = UndatedUv(settings=settings, room=own_room(settings, tmp_path), on_line=log.append, failures={})
    (tmp_path / "requirements.txt").write_text("torch\n")
    checkout = Checkout(ref=SpaceRef(kind=RefKind.HUB, source="o/n"), commit="c" * 40, path=str(tmp_path))
    spec = SpaceSpec(sdk=Sdk.GRADIO, sdk_version="3.50.2", requirements="requirements.txt")
    wishes = read_wishes(spec, checkout)
    request = make(spec, wishes, Python(path=sys.executable, version="3.11.7", prefix=sys.prefix, tag="cpython-311"))
    report = Reporter(log=log.append)
    shop = Shop(settings=settings, report=report, checkout=checkout, scratch=tmp_path, under=NOBODY, uv=uv)
    question = Question(lines=request.lines, request=request, before="2023-11-20T00:00:00+00:00")
    dated = ask_as_of(question, wishes, shop)
    assert (dated.answer.ok, dated.exempt) == (True, ("torch",)), "numpy is on the index that has dates, too"
    assert "torch<2.2" in (tmp_path / "bounds.txt").read_text().splitlines()
    assert not any("missing an upload date" in line for line in log), "one line for each file of an index"
