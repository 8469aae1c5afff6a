"""What the page shows, as HTML: everything a Space wrote is text, and each event leads to its row."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from app import forms
from app.machine.environments import EnvironmentSize
from app.views import diff, inspection, log, problem, spaces, text, timeline
from spaces_runner.types import (
    Checkout,
    ErrorInfo,
    Exited,
    Failed,
    Finding,
    Inspection,
    Patch,
    PatchedFile,
    Progress,
    RefKind,
    Resolution,
    ResolvedHow,
    Sdk,
    Severity,
    SpaceRef,
    SpaceSpec,
    SpaceStatus,
    Stage,
    StageChanged,
    Step,
    StepFinished,
    StepStarted,
)

HOSTILE = "\x1b[2J\x1b]0;t\x07<script>alert(1)</script><img src=x onerror=alert(1)>\" onclick='alert(1)' \u202eabc"
ERROR = ErrorInfo(
    code="app_exited", stage=Stage.RUNTIME_ERROR, step=Step.LAUNCH, message=HOSTILE, hint=HOSTILE, lines=(HOSTILE,) * 2
)
FINDING = Finding(code="x", severity=Severity.WARNING, message=HOSTILE, remedy=HOSTILE, lines=(HOSTILE,))
STATUS = SpaceStatus(
    id=HOSTILE, space=HOSTILE, revision=HOSTILE, stage=Stage.RUNTIME_ERROR, step=Step.LAUNCH, gpu=HOSTILE,
    local_url="http://127.0.0.1:1/" + HOSTILE, share_url="javascript:alert(1)", started_at="2026-01-01T00:00:00+00:00",
    ended_at="2026-01-01T00:01:40+00:00", error=ERROR, findings=(FINDING,), restarts=2,
)  # fmt: skip
INSPECTION = Inspection(
    checkout=Checkout(
        ref=SpaceRef(kind=RefKind.DIRECTORY, source="/x/" + HOSTILE), commit="0" * 40, path="/x", size_bytes=2_000_000
    ),
    spec=SpaceSpec(
        sdk=Sdk.GRADIO, sdk_version=HOSTILE, title=HOSTILE, emoji=HOSTILE, app_file=HOSTILE, secrets=(HOSTILE,),
        packages=(HOSTILE,), models=(HOSTILE,), suggested_hardware=HOSTILE,
    ),
    resolution=Resolution(
        python="/p", python_version="3.10.1", how=ResolvedHow.AS_OF_DATE, packages=("a==1", "b==2"), lock="",
        exclude_newer="2023-04-05T06:07:08Z",
    ),
    environment_ready=False,
    patch=Patch(files=(PatchedFile(path="app.py", source="", diff=HOSTILE),)),
    gpu_fit=HOSTILE,
    findings=(FINDING,),
)  # fmt: skip


class _Reader(HTMLParser):
    """The elements, the names of attributes and the text that a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.links: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "a":
            self.links.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "html",
    [
        log.render([HOSTILE, HOSTILE], "Run log"),
        diff.render("--- a\n+++ b\n@@ -1 +1 @@\n-" + HOSTILE + "\n+" + HOSTILE),
        problem.render(ERROR),
        spaces.render((STATUS,), None, 0.0),
        spaces.detail(STATUS, 0.0),
        inspection.render(INSPECTION, EnvironmentSize()),
        text.findings((FINDING,)),
        timeline.render(
            timeline.Timeline().after((StepFinished(at=2.0, step=Step.CLONE, seconds=1.0, note=HOSTILE),)), 3.0
        ),
    ],
)
def test_what_a_space_wrote_is_only_text(html: str) -> None:
    seen = _Reader(html)
    assert not seen.tags & {"script", "img"}
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert "<script>alert(1)</script>" in seen.text
    assert "\x1b" not in html and "\u202e" not in html


def test_links_open_apart_and_lead_to_the_web_only() -> None:
    seen = _Reader(text.link("https://a.gradio.live", "Public") + text.link("javascript:alert(1)", "x"))
    assert [link["href"] for link in seen.links] == ["https://a.gradio.live"]
    assert seen.links[0]["rel"] == "noopener noreferrer"
    assert text.link(None, "Public") == ""


def test_an_inspection_says_what_would_happen() -> None:
    shown = _Reader(inspection.render(INSPECTION, EnvironmentSize())).text
    for words in ("2.0 MB", "3.10.1", "2 packages", "of the time it was written (2023-04-05)", "will be built"):
        assert words in shown


@pytest.mark.parametrize(
    ("ready", "found", "words"),
    [
        (True, EnvironmentSize(disk=412_000_000), "412.0 MB on disk"),
        (False, EnvironmentSize(fetched=98_000_000), "up to 98.0 MB to fetch; on disk it is larger"),
        (False, EnvironmentSize(fetched=98_000_000, unknown=2), "98.0 MB to fetch, and 2 packages say no size"),
        (False, EnvironmentSize(unknown=2), "not known before its first launch"),
    ],
)
def test_an_inspection_says_how_large_the_environment_is(ready: bool, found: EnvironmentSize, words: str) -> None:
    assert words in _Reader(inspection.render(replace(INSPECTION, environment_ready=ready), found)).text


@pytest.mark.parametrize(("severity", "shown"), [(Severity.INFO, False), (Severity.WARNING, True)])
def test_where_torch_came_from_is_told_where_there_is_a_gpu(severity: Severity, shown: bool) -> None:
    """The finding is a note where there is none."""
    found = Finding(code="torch-index-unreachable", severity=severity, message="Out of reach.", remedy="Allow it.")
    assert ("Out of reach." in text.findings((found,))) is shown


def test_a_failure_shows_stage_step_cause_and_remedy() -> None:
    shown = _Reader(problem.render(ERROR)).text
    assert "RUNTIME_ERROR" in shown and "start the app" in shown and shown.count("alert(1)") >= 4


BEGIN = (StepStarted(at=10.0, step=Step.CLONE), StepFinished(at=12.5, step=Step.CLONE, seconds=2.5, note="3 files"))


def test_a_timeline_follows_its_events() -> None:
    line = timeline.Timeline().after(
        (*BEGIN, StepStarted(at=13.0, step=Step.LFS), Progress(at=14.0, step=Step.LFS, done=5, total=20, unit="bytes"))
    )
    seen = _Reader(timeline.render(line, now=20.0))
    assert "Fetch the files" in seen.text and "3 files" in seen.text and "2.5s" in seen.text
    assert "5 B of 20 B" in seen.text and "7.0s" in seen.text and "progress" in seen.tags


def test_a_model_that_is_fetched_is_named_beside_its_bar() -> None:
    fetching = Progress(at=14.0, step=Step.MODELS, done=5, total=20, unit="bytes", what=HOSTILE)
    line = timeline.Timeline().after((*BEGIN, StepStarted(at=13.0, step=Step.MODELS), fetching))
    seen = _Reader(timeline.render(line, now=20.0))
    assert "Fetch its models" in seen.text and "5 B of 20 B" in seen.text and "progress" in seen.tags
    assert "alert(1)" in seen.text and "script" not in seen.tags


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (Failed(at=15.0, error=ERROR), timeline.State.FAILED),
        (Exited(at=15.0, code=1, signal=None), timeline.State.FAILED),
        (Exited(at=15.0, code=0, signal=None), timeline.State.DONE),
        (StageChanged(at=15.0, stage=Stage.BUILD_ERROR), timeline.State.FAILED),
        (StageChanged(at=15.0, stage=Stage.STOPPED), timeline.State.DONE),
    ],
)
def test_an_end_stops_the_clock(last: Failed | Exited | StageChanged, state: timeline.State) -> None:
    line = timeline.Timeline().after((*BEGIN, StepStarted(at=13.0, step=Step.LAUNCH), last))
    assert (line.rows[Step.LAUNCH].state, line.rows[Step.LAUNCH].seconds) == (state, 2.0)
    assert line.rows[Step.CLONE].seconds == 2.5


def test_the_start_of_the_app_is_told_by_stages() -> None:
    starting = timeline.Timeline().after((*BEGIN, StageChanged(at=20.0, stage=Stage.APP_STARTING)))
    assert starting.rows[Step.LAUNCH].state is timeline.State.RUNNING
    running = starting.after((StageChanged(at=24.0, stage=Stage.RUNNING, local_url="http://127.0.0.1:1"),))
    assert (running.rows[Step.LAUNCH].state, running.rows[Step.LAUNCH].seconds) == (timeline.State.DONE, 4.0)
    assert Step.SHARE not in running.rows
    shared = running.after((StageChanged(at=25.5, stage=Stage.RUNNING, share_url="https://a.gradio.live"),))
    assert shared.rows[Step.SHARE].seconds == 1.5
    crashed = shared.after((Exited(at=30.0, code=1, signal=None), StageChanged(at=31.0, stage=Stage.APP_STARTING)))
    assert crashed.rows[Step.LAUNCH] == timeline.Row(state=timeline.State.RUNNING, begun=31.0)


def test_a_finding_does_not_repeat_its_error() -> None:
    error = ErrorInfo(code="x", stage=Stage.RUNTIME_ERROR, step=None, message="m", hint="the hint", lines=("a line",))
    finding = Finding(code="y", severity=Severity.ERROR, message="why", remedy="the hint", lines=("a line",))
    status = SpaceStatus(
        id="a", space="a/b", revision=None, stage=Stage.RUNTIME_ERROR, error=error, findings=(finding,)
    )
    shown = _Reader(spaces.detail(status, 0.0)).text
    assert (shown.count("the hint"), shown.count("a line"), shown.count("why")) == (1, 1, 1)


def test_a_new_run_starts_a_new_timeline() -> None:
    line = timeline.Timeline().after((*BEGIN, StepStarted(at=30.0, step=Step.CLONE)))
    assert set(line.rows) == {Step.CLONE} and line.rows[Step.CLONE].state is timeline.State.RUNNING


def test_the_form_becomes_options() -> None:
    filled = forms.Filled(python=" 3.10 ", gpu="", app_args="--name 'a b' -x", environment="A=1\n# no\n\nB = x=y \n")
    options = forms.options(filled, ("KEY",))
    assert (options.python, options.gpu, options.app_args) == ("3.10", "auto", ("--name", "a b", "-x"))
    assert options.variables == {"A": "1", "B": "x=y"}
    assert options.secret_names == ("KEY",)


@pytest.mark.parametrize("filled", [{"environment": "NOVALUE"}, {"environment": "1A=2"}, {"app_args": "'open"}])
def test_a_form_that_cannot_be_read_says_so(filled: dict[str, str]) -> None:
    with pytest.raises(forms.FormError) as caught:
        forms.options(forms.Filled(**filled))  # type: ignore[arg-type]  # text fields only
    assert caught.value.hint
