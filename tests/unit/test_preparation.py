"""What a relaunch remembers of the last launch, and when it does not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from spaces_runner import preparation, runner
from spaces_runner.job import Job
from spaces_runner.preparation import Preparation, recall, remember
from spaces_runner.settings import Settings
from spaces_runner.types import (
    Checkout,
    Environment,
    Finding,
    Patch,
    PatchedFile,
    RefKind,
    Resolution,
    ResolvedHow,
    RunOptions,
    Sdk,
    Severity,
    SpaceRef,
    SpaceSpec,
)

COMMIT = "a" * 40


@pytest.fixture
def job(tmp_path: Path) -> Job:
    settings = Settings(home=str(tmp_path))
    settings.space("o-n").root.mkdir(parents=True)
    ref = SpaceRef(kind=RefKind.HUB, source="o/n")
    return Job(space_id="o-n", run_id="1" * 32, ref=ref, options=RunOptions(secret_names=("KEY",)), settings=settings)


@pytest.fixture
def made(job: Job, tmp_path: Path) -> Preparation:
    """A preparation whose interpreter and environment are there."""
    python = tmp_path / "python"
    python.touch()
    mark = job.settings.environment_mark("f" * 32)
    mark.parent.mkdir(parents=True)
    mark.touch()
    resolution = Resolution(
        python=str(python), python_version="3.11.7", how=ResolvedHow.JOINT, packages=("a==1",), lock="packages = []"
    )
    return Preparation(
        spec=SpaceSpec(sdk=Sdk.GRADIO, sdk_version="6.31.0", secrets=("KEY",)),
        environment=Environment(
            fingerprint="f" * 32, prefix=str(mark.parent), python=str(python), resolution=resolution, reused=False
        ),
        patch=Patch(
            files=(PatchedFile(path="app.py", source="demo.launch(share=True)\n", diff="+"),),
            findings=(Finding(code="not-patched", severity=Severity.WARNING, message="é"),),
        ),
    )


def test_the_same_is_recalled_and_its_environment_counts_as_used(job: Job, made: Preparation) -> None:
    mark = job.settings.environment_mark(made.environment.fingerprint)
    os.utime(mark, (1, 1))
    remember(job, COMMIT, made)
    assert recall(job, COMMIT) == replace(made, environment=replace(made.environment, reused=True))
    assert recall(replace(job, run_id="2" * 32), COMMIT) is not None
    assert mark.stat().st_mtime > 1


@pytest.mark.parametrize("driver", [True, False])
def test_a_torch_that_was_made_do_with_is_not_kept_where_there_is_a_gpu(
    monkeypatch: pytest.MonkeyPatch, job: Job, made: Preparation, tmp_path: Path, driver: bool
) -> None:
    version = tmp_path / "version"
    if driver:
        version.touch()
    monkeypatch.setattr(import_module("spaces_runner.environment.resolve"), "NVIDIA", version)
    missed = Finding(code="torch-index-unreachable", severity=Severity.WARNING, message="out of reach")
    resolution = replace(made.environment.resolution, findings=(missed,))
    checkout = Checkout(ref=job.ref, commit=COMMIT, path=str(tmp_path))
    runner.remember(job, checkout, replace(made, environment=replace(made.environment, resolution=resolution)))
    assert (recall(job, COMMIT) is None) is driver
    runner.remember(job, checkout, made)
    assert recall(job, COMMIT) is not None


def test_nothing_is_recalled_where_nothing_was_made(job: Job) -> None:
    assert recall(job, COMMIT) is None


def test_another_token_opens_the_same(job: Job, made: Preparation) -> None:
    remember(job, COMMIT, made)
    assert recall(replace(job, settings=replace(job.settings, hf_token="hf_new")), COMMIT) is not None


CHANGES: dict[str, Callable[[Job], Job]] = {
    "python": lambda job: replace(job, options=replace(job.options, python="3.10")),
    "a secret's name": lambda job: replace(job, options=replace(job.options, secret_names=())),
    "a variable": lambda job: replace(job, options=replace(job.options, variables={"A": "1"})),
    "no link": lambda job: replace(job, options=replace(job.options, share=False)),
    "asked anew": lambda job: replace(job, options=replace(job.options, refresh=True)),
    "revision": lambda job: replace(job, ref=replace(job.ref, revision="v2")),
    "index": lambda job: replace(job, settings=replace(job.settings, index_url="https://index.example.org/simple")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_asked_otherwise_is_made_anew(job: Job, made: Preparation, change: Callable[[Job], Job]) -> None:
    remember(job, COMMIT, made)
    assert recall(change(job), COMMIT) is None
    assert recall(job, COMMIT) is not None


def test_another_commit_is_made_anew(job: Job, made: Preparation) -> None:
    remember(job, COMMIT, made)
    assert recall(job, "b" * 40) is None


def test_an_updated_runner_makes_it_anew(job: Job, made: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(job, COMMIT, made)
    files = [*preparation._code()]
    assert ("runner.py" in {name for name, _, _ in files}) and ("compat.toml" in {name for name, _, _ in files})
    name, size, changed = files[-1]
    monkeypatch.setattr(preparation, "_code", lambda: iter([*files[:-1], (name, size, changed + 1)]))
    assert recall(job, COMMIT) is None


def test_another_driver_or_debian_package_makes_it_anew(
    job: Job, made: Preparation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver, packages = tmp_path / "version", tmp_path / "info"
    driver.write_text("550.1")
    packages.mkdir()
    monkeypatch.setattr(preparation, "_DRIVER", driver)
    monkeypatch.setattr(preparation, "_DEBIAN_PACKAGES", packages)
    remember(job, COMMIT, made)
    assert recall(job, COMMIT) is not None
    driver.write_text("551.0")
    assert recall(job, COMMIT) is None
    remember(job, COMMIT, made)
    os.utime(packages, (1, 1))  # as when a package is installed
    assert recall(job, COMMIT) is None


@pytest.mark.parametrize("gone", ["environment", "interpreter"])
def test_what_does_not_stand_any_more_is_made_anew(job: Job, made: Preparation, gone: str) -> None:
    remember(job, COMMIT, made)
    mark = job.settings.environment_mark(made.environment.fingerprint)
    (mark if gone == "environment" else Path(made.environment.resolution.python)).unlink()
    assert recall(job, COMMIT) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_half_written_one_is_never_used(job: Job, made: Preparation, share: float) -> None:
    remember(job, COMMIT, made)
    file = job.settings.space("o-n").root / "preparation.json"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert recall(job, COMMIT) is None
    file.write_bytes(whole)
    assert recall(job, COMMIT) is not None


def test_it_is_for_us_alone_and_leaves_nothing_beside_it(job: Job, made: Preparation) -> None:
    remember(job, COMMIT, made)
    remember(job, "b" * 40, made)
    (file,) = job.settings.space("o-n").root.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600  # a lock may name an index with a password
