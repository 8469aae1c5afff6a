"""Docker Spaces for real: built, run and ended by Podman, as an owner would."""

from __future__ import annotations

import os
import shutil
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import spaces_runner
from spaces_runner import control, doctor, looking, stopping
from spaces_runner.containers import remove
from spaces_runner.containers.engine import find
from spaces_runner.doctor import Verdict
from spaces_runner.errors import AppExited, BuildError, EngineMissing, NeverReady
from spaces_runner.handle import Space
from spaces_runner.process import Family
from spaces_runner.settings import Settings
from spaces_runner.store import Store
from spaces_runner.types import Progress, Stage, Step
from tests.support.home import open_directory
from tests.support.podman import BASE, Podman
from tests.support.share import Share
from tests.support.shims import files_with, until

README = "---\ntitle: Inside\nsdk: docker\napp_port: 8123\n---\n"
SECRET = "sesame-open-1f4c"
DOCKERFILE = f"""FROM {BASE}
COPY start.sh /start.sh
CMD ["sh", "/start.sh"]
"""
STEPS = 4  # those of the Dockerfile, and our label, which Podman counts as one more
FULL = f"""FROM {BASE}
ARG GREETING
RUN --mount=type=secret,id=TOKEN echo "the secret has $(cat /run/secrets/TOKEN | wc -c) characters"
RUN mkdir -p /www && echo "$GREETING at build" > /www/built && chown 1000:1000 /www
COPY start.sh /start.sh
USER 1000:1000
CMD ["sh", "/start.sh"]
"""
START = """
trap 'exit 0' TERM
echo "the app says $GREETING"
mkdir -p /www
env > /www/env
httpd -f -p 8123 -h /www &
wait
"""
STUBBORN = "trap '' TERM\nmkdir /www\nenv > /www/env\nhttpd -f -p 8123 -h /www &\nwhile true; do sleep 1; done\n"


@pytest.fixture
def ours(settings: Settings, podman: Podman) -> Iterator[Settings]:
    """Settings of a runner whose engine is the tests' own. Nothing is left of its Spaces."""
    made = podman.settings(replace(settings, stop_grace_s=3.0))
    yield made
    for space in spaces_runner.spaces(settings=made):
        space.remove()
    assert podman.containers() == []


Make = Callable[..., Path]


@pytest.fixture
def make() -> Iterator[Make]:
    """Directories with Docker Spaces."""
    parent = open_directory("sr-docker-")

    def made(start: str = START, dockerfile: str = DOCKERFILE, readme: str = README) -> Path:
        folder = parent / "inside"
        folder.mkdir(exist_ok=True)
        for name, text in (("README.md", readme), ("Dockerfile", dockerfile), ("start.sh", start)):
            (folder / name).write_text(text)
        return folder

    yield made
    shutil.rmtree(parent)


def get(url: str | None, path: str = "") -> str:
    assert url
    with urllib.request.urlopen(f"{url.rstrip('/')}/{path}", timeout=10) as answer:
        return str(answer.read().decode()).strip()


def start(folder: Path, settings: Settings, secrets: Mapping[str, str] | None = None) -> Space:
    given = {"TOKEN": SECRET, **(secrets or {})}
    return spaces_runner.run(
        folder, env={"GREETING": "hello"}, secrets=given, settings=settings, share=False, timeout=60
    )


def started(folder: Path, settings: Settings) -> Space:
    """One whose run need not come to a good end."""
    return spaces_runner.run(
        folder, env={"GREETING": "hello"}, secrets={"TOKEN": SECRET}, settings=settings, share=False, wait=False
    )


def command_lines() -> str:
    """Of every process of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:  # it has ended
            continue
    return "\n".join(found)


def test_it_starts_and_knows_what_its_owner_gave_it(ours: Settings, make: Make, podman: Podman) -> None:
    space = start(make(dockerfile=FULL), ours, {"LETTER": "one\ntwo", "SPACED": ' a "b" = c# '})
    try:
        assert get(space.url, "built") == "hello at build"
        inside = get(space.url, "env")
        for line in ("GREETING=hello", f"TOKEN={SECRET}", "LETTER=one", "two", 'SPACED= a "b" = c# '):
            assert line in inside.splitlines()
        assert "SPACE_TITLE=Inside" in inside
        assert "SPACES_RUNNER" not in inside
        assert "the app says hello" in list(space.logs())
        built = list(space.logs("build"))
        assert f"the secret has {len(SECRET)} characters" in built
        progress = [event for event in space.events() if isinstance(event, Progress)]
        assert {(event.step, event.total, event.unit) for event in progress} >= {(Step.BUILD, STEPS + 4, "steps")}
        assert SECRET not in command_lines()
        assert not files_with(SECRET, ours.space(space.id).root)
        told = podman.ask(
            "inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", *podman.containers()
        )
        assert all(int(number) > 0 for number in told.split())
    finally:
        space.stop()
    assert space.stage is Stage.STOPPED
    assert podman.containers() == []


def test_its_own_link_and_a_restart(ours: Settings, make: Make, podman: Podman, share: Share) -> None:
    settings = share.settings(ours)
    folder = make()
    space = spaces_runner.run(
        folder, env={"GREETING": "hello"}, secrets={"TOKEN": SECRET}, settings=settings, timeout=60
    )
    until(lambda: space.share_url is not None)
    assert "GREETING=hello" in get(space.share_url, "env")
    before = podman.images(ours.space(space.id).root)
    space.restart(timeout=60)
    assert "GREETING=hello" in get(space.url, "env")
    assert len(podman.images(ours.space(space.id).root)) == len(before) == 1
    space.remove()
    assert podman.images(ours.space(space.id).root) == []


def test_a_build_that_fails_shows_the_lines_that_say_why(ours: Settings, make: Make) -> None:
    dockerfile = DOCKERFILE.replace("CMD", "RUN echo looking && cat /run/secrets/none; ls /not/there\nCMD")
    with pytest.raises(BuildError) as caught:
        start(make(dockerfile=dockerfile), ours)
    error = caught.value.info
    assert (error.code, error.stage, error.step) == ("image_build_failed", Stage.BUILD_ERROR, Step.BUILD)
    assert f"step 3 of {STEPS + 1}: RUN echo looking" in error.message
    assert "ls: /not/there: No such file or directory" in error.lines
    assert error.hint


def test_a_secret_that_a_failing_step_prints_is_not_shown(ours: Settings, make: Make) -> None:
    reveal = "RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN; echo; test -e /not/there"
    with pytest.raises(BuildError) as caught:
        start(make(dockerfile=DOCKERFILE.replace("CMD", f"{reveal}\nCMD")), ours)
    assert "[secret]" in caught.value.info.lines
    assert not files_with(SECRET, ours.spaces_dir)


def test_a_base_image_that_is_nowhere(ours: Settings, make: Make) -> None:
    with pytest.raises(BuildError) as caught:
        start(make(dockerfile="FROM localhost/not/there:1\n"), ours)
    assert "base image" in caught.value.info.hint


def test_an_app_that_ends(ours: Settings, make: Make) -> None:
    with pytest.raises(AppExited) as caught:
        start(make("echo no model here; exit 7\n"), ours)
    assert "with code 7" in caught.value.info.message
    assert "no model here" in caught.value.info.lines


def test_a_command_that_is_not_in_the_image(ours: Settings, make: Make) -> None:
    with pytest.raises(AppExited) as caught:
        start(make(dockerfile=DOCKERFILE.replace('"sh"', '"bash"')), ours)
    assert "with code 127" in caught.value.info.message
    assert caught.value.info.hint == "The image's command is not in the image."


def test_an_app_that_answers_elsewhere(ours: Settings, make: Make) -> None:
    readme = README.replace("8123", "8124\nstartup_duration_timeout: 3s")
    with pytest.raises(NeverReady) as caught:
        start(make(readme=readme), ours)
    assert "Nothing answers on port 8124 in its container" in caught.value.info.message


def test_an_app_that_crashes_is_started_again(ours: Settings, make: Make, podman: Podman) -> None:
    space = start(make(), ours)
    podman.ask("kill", *podman.containers())
    until(lambda: space.status.restarts == 1 and space.stage is Stage.RUNNING, 30)
    assert "GREETING=hello" in get(space.url, "env")
    assert len(podman.containers()) == 1


def test_a_stop_of_an_app_that_ignores_it(ours: Settings, make: Make, podman: Podman) -> None:
    space = start(make(STUBBORN), replace(ours, stop_grace_s=10.0))
    begun = time.monotonic()
    stopping.stop(space.id, replace(ours, stop_grace_s=10.0))
    assert time.monotonic() - begun < stopping.STOP_S
    assert space.stage is Stage.STOPPED
    assert space.status.findings == ()
    assert podman.containers() == []


def test_a_stop_while_the_image_is_built(ours: Settings, make: Make, podman: Podman) -> None:
    space = started(make(dockerfile=DOCKERFILE.replace("CMD", "RUN sleep 61.7\nCMD")), ours)
    until(lambda: "sleep\x0061.7" in command_lines(), 30)
    space.stop()
    assert space.stage is Stage.STOPPED
    assert "sleep\x0061.7" not in command_lines()


@pytest.mark.parametrize("script", [START, STUBBORN], ids=["obedient", "stubborn"])
def test_nothing_outlives_a_shim_that_was_killed(ours: Settings, make: Make, podman: Podman, script: str) -> None:
    space = start(make(script), ours)
    run = Store(ours).run(space.id)
    assert run.shim
    os.kill(run.shim.pid, signal.SIGKILL)
    run.shim.wait(5)
    looking.sweep(ours)
    assert podman.containers() == []
    assert space.status.error
    assert space.status.error.code == "shim_lost"
    assert Family(mark=run.id).members() == ()


def test_prune_removes_images_of_spaces_that_are_gone(ours: Settings, make: Make, podman: Podman) -> None:
    folder = make()
    known, gone, other = ours.space("known").root, ours.space("gone").root, "/another/home/spaces/one"
    for label in (known, gone, other):
        (folder / "start.sh").write_text(f"# of {label}\n")
        podman.build(folder, label)
    engine = find(ours).engine
    assert engine
    assert len(remove.leftovers(engine, ours, {"known"}, dry_run=True)) == 1
    assert len(control.prune(ours, True, False)["images"]) == 2
    remove.leftovers(engine, ours, {"known"}, dry_run=False)
    assert [len(podman.images(label)) for label in (known, gone, other)] == [1, 0, 1]
    remove.forget(engine, "known", ours)
    assert [len(podman.images(label)) for label in (known, gone, other)] == [0, 0, 1]


def test_an_inspection_builds_nothing(ours: Settings, make: Make, podman: Podman) -> None:
    before = podman.ask("images", "--all", "--quiet")
    plan = spaces_runner.inspect(make(), settings=ours)
    assert (plan.resolution, plan.spec.app_port) == (None, 8123)
    assert podman.ask("images", "--all", "--quiet") == before


def test_without_an_engine_it_is_refused(settings: Settings, make: Make) -> None:
    without = replace(settings, path="/not/there")
    with pytest.raises(EngineMissing) as caught:
        start(make(), without)
    error = caught.value.info
    assert (error.code, error.stage, error.step) == ("engine_missing", Stage.CONFIG_ERROR, Step.DETECT)
    assert "neither Docker nor Podman is installed" in error.message
    assert "apt-get install podman" in error.hint


def test_an_engine_that_does_not_answer_says_why(settings: Settings, podman: Podman) -> None:
    found = find(replace(settings, container_flags=("--no-such-flag",), path=str(Path(podman.command[0]).parent)))
    assert found.engine is None
    assert any("podman does not answer: " in refusal and "no-such-flag" in refusal for refusal in found.refusals)


def test_the_doctor_names_the_engine(ours: Settings) -> None:
    found = doctor.containers(ours)
    assert (found.verdict, found.detail.split()[0]) == (Verdict.OK, "podman")
    assert doctor.containers(replace(ours, path="/not/there")).verdict is Verdict.WARN
