"""Every Space of the corpus, started as an owner does it; tests/support/cases.py says what is checked."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import httpx
import pytest

from spaces_runner import control, looking
from spaces_runner.checking.ask import ask
from spaces_runner.errors import UnknownSpace
from spaces_runner.ref import parse
from spaces_runner.settings import Settings
from spaces_runner.types import RunOptions, SpaceStatus, Stage
from tests.support.cases import Case, check_api, check_page, collect, path_without
from tests.support.home import open_directory
from tests.support.share import Share

pytestmark = pytest.mark.network_index

CASES = collect()
RUNNING = [case for case in CASES if case.runs]
FAILING = [case for case in CASES if not case.runs]


def runnable(cases: list[Case]) -> list[object]:
    """The cases as parameters; those that need a program which this machine lacks are skipped, and say so."""
    missing = {case.name: [name for name in case.needs if shutil.which(name) is None] for case in cases}
    return [
        pytest.param(
            case,
            id=case.name,
            marks=pytest.mark.skipif(
                bool(missing[case.name]), reason=f"not installed: {', '.join(missing[case.name])}"
            ),
        )
        for case in cases
    ]


PATIENCE_S = 240.0


@pytest.fixture(scope="module")
def own_settings(shared_settings: Settings) -> Settings:
    """With ports and users of its own: another state directory on this machine knows nothing of these."""
    part = os.getpid() % 1000
    return replace(shared_settings, port_base=12_000 + part * 10, uid_base=100_000 + part * 1000)


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """Where the Spaces lie that are pasted."""
    path = open_directory("sr-corpus-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def start(case: Case, room: Path, settings: Settings) -> str:
    folder = case.lay(room / case.name)
    if case.without:
        settings = replace(settings, path=path_without(case.without, settings.path, room / f"{case.name}-bin"))
    options = RunOptions(variables=case.env, secret_names=tuple(case.secrets), app_args=case.args)
    return control.start(
        control.Request(ref=parse(str(folder), settings), options=options, secrets=case.secrets), settings
    ).id


@contextmanager
def launched(case: Case, room: Path, settings: Settings) -> Iterator[SpaceStatus]:
    """The Space, started and waited for, and removed at the end."""
    space_id = start(case, room, settings)
    try:
        yield looking.wait(space_id, settings, PATIENCE_S)
    finally:
        control.remove(space_id, settings)


@dataclass(slots=True)
class Queue:
    """Starts the next Space while one is waited for and looked at: most of a start keeps one core busy, or none."""

    room: Path
    order: list[Case]
    settings: Settings | None = None
    started: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def launched(self, case: Case, settings: Settings) -> Iterator[SpaceStatus]:
        self.settings = settings
        at = self.order.index(case)
        for one in self.order[at : at + 2]:
            if one.name not in self.started:
                self.started[one.name] = start(one, self.room, settings)
        try:
            yield looking.wait(self.started[case.name], settings, PATIENCE_S)
        finally:
            control.remove(self.started[case.name], settings)

    def close(self) -> None:
        """Remove what was started for a test that did not come."""
        for space_id in self.started.values():
            if self.settings is not None:
                with suppress(UnknownSpace):
                    control.remove(space_id, self.settings)


@pytest.fixture(scope="module")
def queue(request: pytest.FixtureRequest, room: Path) -> Iterator[Queue]:
    items = [
        item for item in request.session.items if isinstance(item, pytest.Function) and item.path == Path(__file__)
    ]
    cases = [item.callspec.params["case"] for item in items if item.originalname in {"test_it_runs", "test_it_fails"}]
    queue = Queue(room, [case for case in cases if isinstance(case, Case)])
    yield queue
    queue.close()


def told(status: SpaceStatus, settings: Settings) -> str:
    """All that an owner can read of a Space."""
    logs = [line for which in ("build", "run") for line in looking.log_tail(status.id, settings, which, 200)]
    error = status.error
    return "\n".join([error.message, error.hint, *error.lines, *logs] if error else logs)


def last_launch(case: Case, status: SpaceStatus, settings: Settings) -> SpaceStatus:
    """The status once the newest launch is the Space's: it was RUNNING from the first on."""
    deadline = time.monotonic() + 30.0
    while not answers(case, status):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
        status = looking.status(status.id, settings)
    return status


def answers(case: Case, status: SpaceStatus) -> bool:
    try:
        check_api(case, status.share_url or "")
    except (httpx.HTTPError, AssertionError, ValueError):
        return False
    return True


@pytest.mark.parametrize("case", RUNNING, ids=lambda case: case.name)
def test_each_case_asks_for_a_value(case: Case) -> None:
    assert (case.get if not case.gradio else case.api) is not None


@pytest.mark.parametrize("case", runnable(RUNNING))
def test_it_runs(case: Case, queue: Queue, own_settings: Settings, share: Share) -> None:
    settings = share.settings(own_settings)
    with queue.launched(case, settings) as first:
        assert first.stage is Stage.RUNNING, f"{first.error}\n{told(first, settings)}"
        status = last_launch(case, first, settings) if case.links > 1 else first
        codes = {finding.code for finding in status.findings}
        assert "bootstrap-failed" not in codes
        assert set(case.findings) <= codes, f"{codes}\n{told(first, settings)}"
        for url in (status.local_url, status.share_url):
            assert url, status
            check_page(case, url)
            check_api(case, url)
        check_report(case, status)
        for value in case.secrets.values():
            assert value not in told(status, settings)


def check_report(case: Case, status: SpaceStatus) -> None:
    """What `spaces-runner check` asks of it: every Gradio answers a call that no case has described."""
    answer = ask(lambda: status.local_url or "", time.monotonic() + 30.0, Event())
    assert answer.page, answer
    if case.gradio and not case.path:
        assert answer.call, answer
        assert answer.call.answered or (answer.call.note == "it asks for a login" and case.auth), answer


@pytest.mark.parametrize("case", runnable(FAILING))
def test_it_fails(case: Case, queue: Queue, own_settings: Settings, share: Share) -> None:
    settings = share.settings(own_settings)
    with queue.launched(case, settings) as status:
        text = told(status, settings)
        assert status.error is not None, f"{status}\n{text}"
        assert (status.stage, status.error.code) == (Stage(case.stage), case.code), f"{status.error}\n{text}"
        assert status.error.stage is status.stage
        assert case.text in text
        assert status.error.hint
        assert (status.local_url, status.share_url) == (None, None)
        codes = [finding.code for finding in status.findings]
        assert set(case.findings) <= set(codes), f"{codes}\n{text}"
        remedies = [finding.remedy for finding in status.findings if finding.code in case.findings]
        assert all(remedies), status.findings


def test_the_owner_may_want_no_link(room: Path, own_settings: Settings, share: Share) -> None:
    settings = share.settings(own_settings)
    [case] = [case for case in RUNNING if case.name == "launch-share-true"]
    folder = case.lay(room / "no-link")
    request = control.Request(ref=parse(str(folder), settings), options=RunOptions(share=False))
    space_id = control.start(request, settings).id
    try:
        status = looking.wait(space_id, settings, PATIENCE_S)
        assert (status.stage, status.share_url) == (Stage.RUNNING, None)
        assert status.local_url
        check_page(case, status.local_url)
    finally:
        control.remove(space_id, settings)


def test_two_spaces_that_want_the_same_port_run_at_once(room: Path, own_settings: Settings, share: Share) -> None:
    settings = share.settings(own_settings)
    pair = [case for case in RUNNING if case.name in ("habit-port-7860-twice", "mount-uvicorn")]
    with launched(pair[0], room / "first", settings) as first, launched(pair[1], room / "second", settings) as second:
        for case, status in ((pair[0], first), (pair[1], second)):
            check_api(case, last_launch(case, status, settings).local_url or "")
        assert first.local_url != second.local_url


def test_a_share_server_that_is_down_is_a_finding(room: Path, own_settings: Settings) -> None:
    settings = replace(own_settings, share_server="http://127.0.0.1:9/v3/tunnel-request")
    [case] = [case for case in RUNNING if case.name == "launch-plain"]
    with launched(case, room / "down", settings) as status:
        assert (status.stage, status.share_url) == (Stage.RUNNING, None)
        assert status.local_url
        check_api(case, status.local_url)
        assert "share_failed" in [finding.code for finding in status.findings]
