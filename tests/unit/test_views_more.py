"""The views of the machine, of remedies and of logs: what a person reads, and that nothing foreign becomes markup."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.machine.residents import Resident
from app.machine.room import Held, Kind
from app.machine.values import Card, Point, Process, Reading, Task, Usage
from app.playground.core import Phase
from app.playground.speeds import Speed
from app.views import chat, log, machine, plot, remedy, residents, sandbox, spaces
from spaces_runner.types import ErrorInfo, Finding, Sandbox, Severity, SpaceStatus, Stage

GB = 1000**3
HOSTILE = '<img src=x onerror="alert(1)">'
FAILED = SpaceStatus(id="a", space="a/b", revision=None, stage=Stage.RUNTIME_ERROR)


def finding(code: str, advice: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(code=code, severity=severity, message="why", remedy=advice)


def failed(hint: str, *findings: Finding) -> SpaceStatus:
    error = ErrorInfo(code="app_exited", stage=Stage.RUNTIME_ERROR, step=None, message="It ended.", hint=hint)
    return replace(FAILED, error=error, findings=findings)


PYTHON, SECRET = (
    remedy.Remedy(kind=remedy.Kind.PYTHON, value="3.10"),
    remedy.Remedy(kind=remedy.Kind.SECRET, value="HF_TOKEN"),
)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (failed("Launch again with --python 3.10."), [PYTHON]),
        (failed("Choose one with --python, or --python OTHER."), []),
        (failed("Once.", finding("x", "launch again with --secret HF_TOKEN=…")), [SECRET]),
        (failed("With --secret HF_TOKEN=….", finding("x", "Set it with --secret HF_TOKEN=…")), [SECRET]),
        (failed("", finding("optional-secret", "Set it with --secret OTHER=…", Severity.INFO)), []),
        (failed("", finding("gpu-out-of-memory", "Stop other Spaces.")), [remedy.Remedy(kind=remedy.Kind.ROOM)]),
        (replace(failed("Launch again with --python 3.10."), stage=Stage.RUNNING), []),
    ],
)
def test_remedies_are_read_from_the_advice(status: SpaceStatus, found: list[remedy.Remedy]) -> None:
    assert list(remedy.of(status)) == found


def test_a_remedy_is_a_button_and_a_secret_has_a_hidden_field() -> None:
    shown = spaces.detail(failed("With --python 3.10 or --secret HF_TOKEN=…"), 0.0)
    assert 'data-action="python" data-space="a" data-name="3.10"' in shown
    assert 'type="password"' in shown and 'aria-label="Value of HF_TOKEN"' in shown


CARD = Card(index=0, uuid="u", name=f"T4 {HOSTILE}", total=16 * GB, used=4 * GB, load=0.5,
            tasks=(Task(pid=12, size=3 * GB), Task(pid=99, size=None)))  # fmt: skip
READING = Reading(at=100.0, cpu=0.25, cpus=2, memory_total=8 * GB, memory_used=2 * GB, cards=(CARD,),
                  processes={12: Process(parent=10, memory=1, cpu_s=0.0)})  # fmt: skip
POINTS = [Point(at=80.0, memory=0.5, load=None), Point(at=90.0, memory=0.5, load=0.0), Point(at=99.0, memory=2, load=1)]


def test_a_gpu_says_who_is_on_it() -> None:
    shown = machine.gpus(READING, {10: f"Space {HOSTILE}"}, {"u": POINTS})
    assert HOSTILE not in shown and shown.count("&lt;img") >= 2
    assert "4.0 GB of 16.0 GB" in shown and "50% load" in shown
    assert "<td>12</td><td>3.0 GB</td>" in shown
    assert f"<td>{machine.STRANGER}</td><td>99</td><td>not told</td>" in shown


def test_a_machine_without_a_gpu_says_so_and_shows_the_rest() -> None:
    bare = replace(READING, cards=())
    assert "There is no GPU on this machine" in machine.gpus(bare, {}, {})
    assert "25% load of 2 processors" in machine.host(bare, POINTS)


def test_a_plot_leaves_out_what_is_not_known_and_stays_in_its_frame() -> None:
    shown = plot.render(POINTS, "load")
    assert 'class="sr-load" points="582.0,100.0 600.0,0.0"' in shown
    assert 'class="sr-memory" points="562.0,50.0 582.0,50.0 600.0,0.0"' in shown
    assert plot.render([], "load") == ""
    apart = plot.render([Point(at=0.0, memory=0.1, load=0.1), Point(at=60.0, memory=0.1, load=0.1)], "load")
    assert apart.count('<polyline class="sr-load"') == 2  # nobody looked in between
    assert 'points="480.0,90.0 480.0,90.0"' in apart  # a dot


def test_what_has_to_go_is_said_with_how() -> None:
    gone = [Held(name="Guanaco", kind=Kind.IDLE_MODEL, size=5 * GB), Held(name="a/b", kind=Kind.SPACE, size=9 * GB)]
    shown = machine.room(20 * GB, 8 * GB, "GPU 0's memory", gone)
    assert "Guanaco, an idle model: 5.0 GB" in shown and "a/b, a Space: 9.0 GB. Stop it first." in shown
    assert "<b>Fits.</b>" in machine.room(5 * GB, 8 * GB, "memory", ())
    assert "<b>Does not fit.</b>" in machine.room(50 * GB, 8 * GB, "memory", None)


def model(residency: str, **changes: object) -> Resident:
    plain = Resident(name="m", title="M", base="o/m", demo=True, residency=residency, device="cuda:0", weights=5 * GB,
                     kv_bytes=GB, kv_tokens=4096, kv_used=96, running=2, waiting=1, loading=0.5, error="")  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields by name


@pytest.mark.parametrize(
    ("residency", "words", "actions"),
    [
        ("resident", "in memory on GPU 0, 2 answering, 1 waiting", ["sleep", "unload"]),
        ("loading", "loading, 50%", []),
        ("asleep", "asleep", ["load", "unload"]),
        ("absent", "not loaded", ["load"]),
        ("remote", "elsewhere", []),
    ],
)
def test_a_model_says_its_state_and_what_can_be_done(residency: str, words: str, actions: list[str]) -> None:
    shown = residents.table([model(residency)], Phase.READY)
    assert words in shown and "demo weights" in shown and "1.0 GB, 96 of 4,096 tokens" in shown
    assert [action for action in ("load", "sleep", "unload") if f'data-action="{action}"' in shown] == actions


def test_no_models_say_why() -> None:
    assert "is being started" in residents.table([], Phase.STARTING)
    assert "core logs" in residents.table([], Phase.AWAY)


def test_speeds_tell_the_machines_apart() -> None:
    known = [Speed(device="NVIDIA H100", rate=61.04, answers=3), Speed(device="CPU", rate=23.0, answers=1)]
    shown = chat.speeds(known, "CPU")
    assert shown.index("23.0 tokens/s</b> here, on CPU") < shown.index("61.0 tokens/s</b> on NVIDIA H100")
    assert chat.speeds([], "CPU") == ""


def test_a_space_says_what_it_takes() -> None:
    used = Usage(cpu=1.26, memory=512_345_678, gpu=2 * GB)
    words = spaces.usage(used)
    assert words == "1.3 processors, 510.0 MB memory, 2.0 GB of the GPU"
    assert words in spaces.render([FAILED], None, 0.0, {"a": words})


def test_log_lines_are_found_by_their_words() -> None:
    content = ["Started on 7860", "GET /", "started <b>again</b>"]
    assert log.matching(content, "  ") == content
    assert log.matching(content, "STARTED again") == ["started <b>again</b>"]
    assert "No line has these words." in log.render([], "Run log", "nowhere")
    assert "<b>" not in log.render(content, "Run log")


def test_the_badge_says_what_keeps_spaces_in_and_what_they_still_reach() -> None:
    whole = sandbox.render(Sandbox(holds=True, enclosed=True, filtered=True, open=("<the network>",)))
    assert "sr-good" in whole and "Landlock, seccomp; a Space can still reach: &lt;the network&gt;." in whole
    none = sandbox.render(Sandbox(holds=False, enclosed=False, filtered=False, open=("files",)))
    assert "sr-bad" in none and "none is launched" in none
