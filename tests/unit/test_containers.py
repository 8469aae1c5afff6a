"""What engines are told and what their builds say, without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner.containers import container
from spaces_runner.containers.buildlog import BuildLog, read_step
from spaces_runner.containers.image import Recipe
from spaces_runner.containers.image import command as build_command
from spaces_runner.containers.nouns import Container, Engine
from spaces_runner.errors import EngineMissing
from spaces_runner.sdks.docker import hub_command, require_engine, subdomain
from spaces_runner.settings import Settings, read_settings
from spaces_runner.types import Gpu, RefKind, RunOptions, Sdk, SpaceRef, SpaceSpec

DOCKER = Engine(name="docker", command=("/usr/bin/docker",), env={"PATH": "/usr/bin", "HOME": "/root"})
PODMAN = replace(DOCKER, name="podman", command=("/usr/bin/podman", "--runtime", "runc"))
SETTINGS = Settings(home="/state", container_build_flags=("--network", "host"))
REF = SpaceRef(kind=RefKind.HUB, source="Some_One/My_app.v2")
SPEC = SpaceSpec(sdk=Sdk.DOCKER, app_file="Dockerfile", app_port=8080, secrets=("KEY",))
GPU = Gpu(index=1, uuid="GPU-abc", name="H200", total_bytes=1, free_bytes=1)
BUILDKIT = """#5 [internal] load build context
#7 [builder 3/9] RUN pip install torch
#7 1.2 Collecting torch
#7 ERROR: process "/bin/sh -c pip install torch" did not complete successfully: exit code: 1
"""


def inside(values: dict[str, str], engine: Engine = PODMAN) -> container.Command:
    made = Container(engine=engine, name="c", flags=("--cap-drop", "ALL"), image="sha256:1", port=8080)
    return container.command(made, 20000, values, ("serve", "--fast"))


def test_no_value_is_in_the_command() -> None:
    made = inside({"TOKEN": "hush", "LETTER": "one\ntwo", "HOME": "/inside"})
    assert not {"hush", "one\ntwo", "/inside"} & set(" ".join(made.argv).split())
    assert made.told == b"TOKEN=hush\nHOME=/inside\n"
    assert made.env == {**PODMAN.env, "LETTER": "one\ntwo"}
    assert ("--env", "LETTER") in zip(made.argv, made.argv[1:], strict=False)


def test_a_value_of_several_lines_never_becomes_the_client_s_own_path() -> None:
    assert inside({"PATH": "/a\n/b"}).env == PODMAN.env


def test_a_long_value_goes_where_no_line_limits_it() -> None:
    made = inside({"LONG": "x" * container.LONGEST_LINE})
    assert (made.told, len(made.env["LONG"])) == (b"", container.LONGEST_LINE)


def test_the_command_publishes_on_loopback_alone_and_ends_with_the_image_and_its_arguments() -> None:
    argv = inside({}).argv
    assert "127.0.0.1:20000:8080" in argv
    assert argv[-3:] == ("sha256:1", "serve", "--fast")


@pytest.mark.parametrize("engine", [DOCKER, PODMAN], ids=lambda engine: engine.name)
def test_a_container_has_few_rights_and_limits_which_its_owner_may_change(engine: Engine) -> None:
    made = container.describe(engine, "i", 7860, container.labels_of("s", "r", SETTINGS), ("--memory", "8g"))
    text = " ".join(made.flags)
    assert "--security-opt no-new-privileges --cap-drop ALL" in text
    assert "NET_RAW" not in text
    assert "--pids-limit" in text
    assert text.endswith("--memory 8g")
    assert "--label spaces-runner.run=r" in text


def test_an_engine_that_may_not_limit_is_not_asked_to() -> None:
    weak = replace(PODMAN, limits=False)
    assert "--memory" not in container.describe(weak, "i", 1, container.labels_of("s", "r", SETTINGS), ()).flags


def test_a_build_has_variables_as_arguments_and_secrets_by_name() -> None:
    recipe = Recipe(
        space_id="s",
        context=Path("/app"),
        dockerfile="Dockerfile",
        variables={"A": "b"},
        secrets={"TOKEN": "hush"},
        scratch=Path("/build"),
    )
    argv = build_command(DOCKER, recipe, SETTINGS, Path("/build/image-id"), {"OURS": "TOKEN"})
    text = " ".join(argv)
    assert "--build-arg A=b --secret id=TOKEN,env=OURS --network host" in text
    assert "hush" not in text
    assert argv[-1] == "/app"


def test_the_card_of_a_podman_is_named_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia.yaml").write_text("kind: nvidia.com/gpu\n")
    monkeypatch.setattr(container, "CDI_DIRECTORIES", (tmp_path,))
    assert container.devices(PODMAN, GPU, SETTINGS) == (("--device", "nvidia.com/gpu=1"), ())


def test_a_card_that_cannot_be_handed_on_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "CDI_DIRECTORIES", (tmp_path,))
    for engine in (DOCKER, PODMAN):
        flags, findings = container.devices(engine, GPU, replace(SETTINGS, path="/not/there"))
        assert (flags, [finding.code for finding in findings]) == ((), ["container-without-gpu"])
    assert container.devices(PODMAN, None, SETTINGS) == ((), ())


def test_a_docker_with_nvidia_s_toolkit_gets_the_card_by_its_uuid(tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-ctk"
    tool.touch(mode=0o755)
    found = container.devices(DOCKER, GPU, replace(SETTINGS, path=str(tmp_path)))
    assert found == (("--gpus", "device=GPU-abc"), ())


@pytest.mark.parametrize(
    ("line", "number", "total"),
    [
        ("STEP 3/9: RUN pip install torch", 3, 9),
        ("[1/2] STEP 4/5: COPY . .", 4, 5),
        ("#7 [builder 3/9] RUN make", 3, 9),
        ("#7 [ 3/12] RUN make", 3, 12),
    ],
)
def test_the_steps_of_a_build(line: str, number: int, total: int) -> None:
    step = read_step(line)
    assert step is not None
    assert (step.number, step.total) == (number, total)


@pytest.mark.parametrize("line", ["#5 [internal] load build context", "RUN echo STEP 1/2: x", "#7 0.3 [1/2] x", ""])
def test_what_begins_no_step(line: str) -> None:
    assert read_step(line) is None


def test_the_lines_of_a_failure_begin_with_its_step() -> None:
    log = BuildLog()
    for line in BUILDKIT.splitlines():
        log.take(line)
    assert log.lines[0] == "#7 [builder 3/9] RUN pip install torch"
    assert log.lines[-1].startswith("#7 ERROR: process")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("write /x: no space left on device", "disk is full"),
        ("Error: creating build container: initializing source docker://a: reading manifest", "base image"),
        ("ls: /nope: No such file or directory", "own step failed"),
    ],
)
def test_what_to_do_about_a_failure(line: str, hint: str) -> None:
    log = BuildLog()
    log.take(line)
    assert hint in log.hint


def test_the_hub_s_own_image_is_named_as_the_hub_names_it() -> None:
    assert subdomain(REF) == "some-one-my-app-v2"
    options = RunOptions(variables={"B": "1"}, secret_names=("A",))
    assert hub_command(REF, SPEC, options, gpu=True) == (
        "docker run -it -p 7860:8080 --platform=linux/amd64 --gpus all -e A=… -e B=… -e KEY=… "
        "registry.hf.space/some-one-my-app-v2:latest"
    )


@pytest.mark.parametrize("kind", [RefKind.HUB, RefKind.DIRECTORY])
def test_without_an_engine_the_hub_s_image_is_offered_where_it_has_one(kind: RefKind) -> None:
    ref = SpaceRef(kind=kind, source="a/b" if kind is RefKind.HUB else "/a/b")
    with pytest.raises(EngineMissing) as caught:
        require_engine(ref, SPEC, RunOptions(), Settings(home="/state", path="/not/there"), gpu=False)
    assert "apt-get install podman" in caught.value.hint
    assert ("registry.hf.space/a-b:latest" in caught.value.hint) is (kind is RefKind.HUB)


def test_the_owner_s_flags_are_words_of_a_shell() -> None:
    settings = read_settings({"SPACES_RUNNER_CONTAINER_RUN_FLAGS": "--memory 8g --label 'a b'"})
    assert settings.container_run_flags == ("--memory", "8g", "--label", "a b")
    with pytest.raises(ValueError, match="SPACES_RUNNER_CONTAINER_FLAGS cannot be taken apart"):
        read_settings({"SPACES_RUNNER_CONTAINER_FLAGS": "'"})
