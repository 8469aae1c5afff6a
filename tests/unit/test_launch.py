"""The launch plan: nothing of the owner's environment, everything the Hub tells a Space, the owner's variables last."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from spaces_runner import launch
from spaces_runner.ports import PortBlock
from spaces_runner.secrets import Secrets
from spaces_runner.settings import Settings
from spaces_runner.shim import app
from spaces_runner.types import (
    Checkout,
    Environment,
    Finding,
    Gpu,
    LaunchPlan,
    RefKind,
    Resolution,
    ResolvedHow,
    RunOptions,
    Sandbox,
    Sdk,
    Severity,
    SpaceRef,
    SpaceSpec,
    User,
)
from spaces_runner.variables import LISTENING, PATHS, RESERVED

SETTINGS = Settings(home="/state", hf_token="hf_not_for_spaces", path="/owner/bin:/usr/bin")
GPU = Gpu(index=1, uuid="GPU-abc", name="NVIDIA H200", total_bytes=141 * 1024**3, free_bytes=140 * 1024**3)
FINDING = Finding(code="c", severity=Severity.INFO, message="m")
HUB = SpaceRef(kind=RefKind.HUB, source="owner/name")
SPEC = SpaceSpec(sdk=Sdk.GRADIO, sdk_version="6.31.0", app_file="src/app.py", title="A title", startup_timeout_s=60.0)


def plan(
    ref: SpaceRef = HUB,
    options: RunOptions | None = None,
    gpu: Gpu | None = None,
    user: User | None = None,
    settings: Settings = SETTINGS,
    *,
    sandbox: Sandbox | None = None,
    spec: SpaceSpec = SPEC,
) -> LaunchPlan:
    resolution = Resolution(python="/py", python_version="3.11.7", how=ResolvedHow.JOINT, packages=(), lock="")
    return launch.plan(
        spec=spec,
        checkout=Checkout(ref=ref, commit="c" * 40, path="/state/spaces/x/app"),
        environment=Environment(fingerprint="f", prefix="/e", python="/e/p", resolution=resolution, reused=False),
        python="/state/spaces/x/venv/bin/python",
        dirs=settings.space("x"),
        options=options or RunOptions(),
        user=user,
        sandbox=sandbox,
        settings=settings,
        gpu=gpu,
        findings=(FINDING,),
        diff="--- a\n",
    )


def test_the_plan_of_a_space() -> None:
    made = plan(options=RunOptions(app_args=("--base_model", "x y"), share=False), user=User(uid=61003, gid=61003))
    assert made.argv == ("/state/spaces/x/venv/bin/python", "src/app.py", "--base_model", "x y")
    assert made.cwd == "/state/spaces/x/app"
    assert (made.sdk, made.sdk_version, made.python_version) == (Sdk.GRADIO, "6.31.0", "3.11.7")
    assert (made.share, made.ready_timeout_s, made.revision) == (False, 60.0, "c" * 40)
    assert (made.findings, made.diff) == ((FINDING,), "--- a\n")
    assert made.env["USER"] == made.env["LOGNAME"] == "space-61003"


def test_the_fence_has_the_spaces_rooms_to_write_and_its_packages_to_read() -> None:
    found = plan(sandbox=Sandbox(holds=True, enclosed=True, filtered=False, open=())).fence
    assert found is not None
    assert (found.enclosed, found.filtered) == (True, False)
    assert {"/e", "/state/models", "/usr", "/etc"} <= set(found.read)
    rooms = {f"/state/spaces/x/{room}" for room in ("app", "data", "home", "venv", "tmp", "run")}
    assert set(found.write) == rooms | {"/tmp", "/var/tmp", "/dev/shm"}
    assert plan().fence is None


def test_code_that_names_the_hubs_folders_gets_its_own_for_them() -> None:
    assert PATHS not in plan().env
    env = plan(spec=replace(SPEC, hub_paths=("/data/x.db",)), options=RunOptions(variables={PATHS: "{}"})).env
    assert json.loads(env[PATHS]) == {
        "/home/user/app": "/state/spaces/x/app",
        "/home/user": "/state/spaces/x/home",
        "/data": "/state/spaces/x/data",
    }


def test_what_the_hub_tells_a_space() -> None:
    env = plan().env
    assert env["SPACE_ID"] == "owner/name"
    assert (env["SPACE_AUTHOR_NAME"], env["SPACE_REPO_NAME"], env["SPACE_TITLE"]) == ("owner", "name", "A title")
    assert env["ACCELERATOR"] == "none"
    assert int(env["CPU_CORES"]) == len(os.sched_getaffinity(0))
    assert env["MEMORY"].endswith("Gi")
    assert env["GRADIO_ANALYTICS_ENABLED"] == "False"


def test_what_only_the_hub_knows_is_not_invented_and_can_be_given() -> None:
    assert "SPACE_CREATOR_USER_ID" not in plan().env
    given = plan(options=RunOptions(variables={"SPACE_CREATOR_USER_ID": "6f1e"})).env
    assert given["SPACE_CREATOR_USER_ID"] == "6f1e"


def test_a_directory_is_honest_about_itself() -> None:
    env = plan(SpaceRef(kind=RefKind.DIRECTORY, source="/home/me/demo")).env
    assert env["SPACE_ID"] == "local/demo"


def test_what_would_change_how_gradio_behaves_is_never_set() -> None:
    env = plan(options=RunOptions(variables={"SYSTEM": "spaces", "SPACES_ZERO_GPU": "1"})).env
    assert "SYSTEM" not in env
    assert "SPACES_ZERO_GPU" not in env


def test_nothing_of_the_owner_is_handed_on() -> None:
    env = plan().env
    assert "hf_not_for_spaces" not in repr(env)
    assert "/owner/bin" not in env["PATH"]
    assert env["PATH"].startswith("/state/spaces/x/venv/bin:")
    assert env["VIRTUAL_ENV"] == "/state/spaces/x/venv"


def test_everything_it_writes_is_in_its_own_rooms() -> None:
    env = plan().env
    for name in ("HOME", "TMPDIR", "HF_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "GRADIO_TEMP_DIR"):
        assert Path("/state/spaces/x") in Path(env[name]).parents


def test_the_owners_variables_come_last_but_for_those_that_are_ours() -> None:
    variables = {"HF_HOME": "/mine", "CUDA_VISIBLE_DEVICES": "7", "SPACES_RUNNER_SOCKET": "x", "SPACES_RUNNER_RUN": "x"}
    env = plan(options=RunOptions(variables=variables), gpu=GPU).env
    assert (env["HF_HOME"], env["CUDA_VISIBLE_DEVICES"]) == ("/mine", "7")
    assert "SPACES_RUNNER_SOCKET" not in env
    assert "SPACES_RUNNER_RUN" not in env


@pytest.mark.parametrize(
    ("wanted", "gpu", "expected"), [("auto", GPU, "GPU-abc"), ("auto", None, None), ("none", None, "")]
)
def test_the_gpu_it_sees(wanted: str, gpu: Gpu | None, expected: str | None) -> None:
    env = plan(options=RunOptions(gpu=wanted), gpu=gpu).env
    assert env.get("CUDA_VISIBLE_DEVICES") == expected
    assert env["ACCELERATOR"] == ("nvidia-h200" if gpu else "none")


def test_gpus_that_the_owner_does_not_see_are_hidden_from_spaces() -> None:
    assert plan(settings=replace(SETTINGS, visible_gpus="")).env["CUDA_VISIBLE_DEVICES"] == ""
    assert plan(settings=replace(SETTINGS, visible_gpus="1"), gpu=GPU).env["CUDA_VISIBLE_DEVICES"] == "GPU-abc"


def test_own_certificates_are_handed_on() -> None:
    assert "SSL_CERT_FILE" not in plan().env
    env = plan(settings=replace(SETTINGS, ca_file="/ca.pem")).env
    assert env["SSL_CERT_FILE"] == env["REQUESTS_CA_BUNDLE"] == "/ca.pem"


def test_the_apps_own_pip_asks_the_owners_index_but_gets_no_password() -> None:
    named = replace(
        SETTINGS,
        index_url="https://user:hidden@index.example/simple",
        extra_index_urls=("https://more.example/simple",),
        find_links=("/wheels", "/others"),
    )
    env = plan(settings=named).env
    assert env["PIP_EXTRA_INDEX_URL"] == env["UV_INDEX"] == "https://more.example/simple"
    assert (env["PIP_FIND_LINKS"], env["UV_FIND_LINKS"]) == ("/wheels /others", "/wheels,/others")
    assert "PIP_INDEX_URL" not in env
    assert "hidden" not in str(env)


def test_what_ties_a_space_to_its_runner_is_not_its_owners() -> None:
    own = dict.fromkeys((*RESERVED, *LISTENING, "MODE"), "theirs")
    values = Secrets(values_by_name=own)
    made = app.environment(
        plan(options=RunOptions(variables=own)), values, PortBlock(base=21000, size=10), Path("/s"), "r"
    )
    assert [name for name, value in made.items() if value == "theirs"] == ["MODE"]
    assert [made[name] for name in LISTENING] == ["127.0.0.1", "21000", "21000"]
