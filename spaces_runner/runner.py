"""The order of the stages, and nothing else: a Space's address in, a launch plan or an inspection out.

The only module that knows which stage follows which; the stages do not know each other.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from spaces_runner import gpu, launch, models, overlay, preparation, sdks, secrets
from spaces_runner.checkout.mirror import mirror_path
from spaces_runner.checkout.obtain import look, obtain
from spaces_runner.errors import RunnerError
from spaces_runner.job import Job
from spaces_runner.ownership import hand_over
from spaces_runner.patch.writing import apply
from spaces_runner.preparation import Preparation
from spaces_runner.report import Reporter
from spaces_runner.settings import INSPECTION, Settings
from spaces_runner.store import Store
from spaces_runner.types import (
    Checkout,
    Confinement,
    Environment,
    Finding,
    Gpu,
    Inspection,
    LaunchPlan,
    Patch,
    RefKind,
    RunOptions,
    Severity,
    Snapshot,
    SpaceRef,
    SpaceSpec,
    Step,
    User,
)
from spaces_runner.variables import RESERVED

if TYPE_CHECKING:
    from spaces_runner.containers.nouns import Engine


def build(job: Job, report: Reporter) -> LaunchPlan:
    """Everything up to, and without, the start of the app.

    Raises the `RunnerError` of the stage that failed, once what the stages before it found is reported. The findings of
    a build that succeeds are in its plan.
    """
    found: list[Finding] = []
    try:
        return _build(job, report, found)
    except RunnerError:
        for finding in found:
            report.found(finding)
        raise


def _build(job: Job, report: Reporter, found: list[Finding]) -> LaunchPlan:
    settings, options, user = job.settings, job.options, job.user
    dirs = settings.space(job.space_id)
    gpu.require(options.gpu, settings.visible_gpus)  # better told before the downloads
    if job.ref.kind is RefKind.CORE:  # nothing is fetched or built
        from spaces_runner.core.plan import launch_plan

        return launch_plan(options, settings, _lease(job))
    checkout = obtain(job.ref, dirs.app, settings, report)
    found += checkout.findings
    if job.ref.kind is RefKind.SUBDOMAIN:
        dirs.mirror_mark.write_text(mirror_path(settings, checkout.ref).name)
    known = preparation.recall(job, checkout.commit)
    with report.step(Step.DETECT):
        spec = known.spec if known else _detect(checkout, options)
        found += spec.findings
        engine = _engine(checkout.ref, spec, options, settings)
    if engine is not None:
        plan = _contain(job, spec, checkout, engine, report)
        return replace(plan, findings=(*found, *plan.findings))
    if spec.packages:
        found += _provide(spec, settings, report, yes=options.apt)
    with report.step(Step.ENVIRONMENT) as note:
        packages = known.environment if known else _environment(job, spec, checkout, report, found)
        found += (*(packages.resolution.findings if known else ()), *packages.findings)
        python = overlay.lay(packages, dirs.venv, user)
        note.append("as it stood" if packages.reused else f"{len(packages.resolution.packages)} packages")
    _share_models(job, spec, report)
    with report.step(Step.PATCH) as note:
        changes = known.patch if known else _patch(dirs.app, spec)
        found += changes.findings
        apply(changes, dirs.app)
        hand_over(dirs.app, user)
        note.append(", ".join(file.path for file in changes.files[:3]) or "nothing to change")
    if not known:
        remember(job, checkout, Preparation(spec=spec, environment=packages, patch=changes))
    leased = _lease(job)
    found += _make_room(job, leased, spec)
    plan = launch.plan(
        spec=spec,
        checkout=checkout,
        environment=packages,
        python=python,
        dirs=dirs,
        options=options,
        user=user,
        sandbox=job.sandbox,
        settings=settings,
        gpu=leased,
        findings=tuple(found),
        diff=changes.diff,
    )
    if spec.build_command:
        from spaces_runner import site

        site.build(spec, plan, settings, report)
    return plan


# What a relaunch remembers. Each of these loads its stage when it is needed: together they take a third of a second.


def _detect(checkout: Checkout, options: RunOptions) -> SpaceSpec:
    from spaces_runner.detect import detect

    return detect(checkout, options)


def _provide(spec: SpaceSpec, settings: Settings, report: Reporter, *, yes: bool) -> tuple[Finding, ...]:
    from spaces_runner import apt

    return apt.provide(spec.packages, settings, report, yes=yes)


def _engine(ref: SpaceRef, spec: SpaceSpec, options: RunOptions, settings: Settings) -> Engine | None:
    """Of a Space that runs in a container. Raises EngineMissing."""
    if not sdks.of(spec.sdk).contained:
        return None
    from spaces_runner.sdks.docker import require_engine

    has_gpu = options.gpu != gpu.NONE and bool(gpu.inventory(settings.visible_gpus))
    return require_engine(ref, spec, options, settings, gpu=has_gpu)


def _contain(job: Job, spec: SpaceSpec, checkout: Checkout, engine: Engine, report: Reporter) -> LaunchPlan:
    """The plan of a Space in a container, once its image stands. Its findings are those that came up here."""
    from spaces_runner.containers import container, image, remove
    from spaces_runner.containers.engine import write_mark

    settings, options = job.settings, job.options
    dirs = settings.space(job.space_id)
    write_mark(engine, dirs.engine_mark)
    recipe = image.Recipe(
        space_id=job.space_id,
        context=Path(checkout.path),
        dockerfile=spec.app_file,
        variables={name: value for name, value in options.variables.items() if name not in RESERVED},
        secrets=secrets.read(settings, job.space_id),
        scratch=_scratch(dirs.build),
        anew=options.refresh,
    )
    with report.step(Step.BUILD) as note:
        built = image.build(engine, recipe, settings, report)
        note.append(f"an image by {engine.name}")
    remove.forget(engine, job.space_id, settings, keep=built)
    leased = _lease(job)
    devices, unfit = container.devices(engine, leased, settings)
    labels = container.labels_of(job.space_id, job.run_id, settings)
    flags = (*devices, *settings.container_run_flags)
    return launch.contained(
        spec=spec,
        checkout=checkout,
        container=container.describe(engine, built, spec.app_port, labels, flags),
        options=options,
        gpu=leased if devices else None,
        findings=(*_make_room(job, leased, spec), *unfit, *_unreached(options)),
    )


def _unreached(options: RunOptions) -> tuple[Finding, ...]:
    """A container has a loopback of its own, on which the core is not."""
    if options.model is None:
        return ()
    return (
        Finding(
            code="core-out-of-reach",
            severity=Severity.WARNING,
            message="The core listens on this machine's loopback, which a container does not reach.",
            remedy="Give the container this machine's network: SPACES_RUNNER_CONTAINER_RUN_FLAGS='--network host', "
            "where the app's port is free.",
        ),
    )


def _environment(job: Job, spec: SpaceSpec, checkout: Checkout, report: Reporter, found: list[Finding]) -> Environment:
    from spaces_runner import environment

    scratch = _scratch(job.settings.space(job.space_id).build)
    under = Confinement(user=job.user, sandbox=job.sandbox)
    if sdks.of(spec.sdk).package is None:
        resolution = environment.bare(job.settings, report)
    else:
        resolution = environment.resolve(spec, checkout, job.options, job.settings, report, under, scratch)
    found += resolution.findings
    return environment.build(resolution, spec, checkout, job.settings, report, under, scratch, job.space_id)


def remember(job: Job, checkout: Checkout, made: Preparation) -> None:
    """For the next launch, which is to ask again where this one had to make do."""
    from spaces_runner import environment

    if not environment.makeshift(made.environment.resolution):
        preparation.remember(job, checkout.commit, made)


def _share_models(job: Job, spec: SpaceSpec, report: Reporter) -> None:
    """Those that the Space names are fetched first; it gets all that were ever fetched."""
    if spec.preload:
        with report.step(Step.MODELS) as note:
            unfetched = models.prefetch(spec.preload, job.settings, report)
            note.append(f"{len(spec.preload) - len(unfetched)} of {len(spec.preload)} are here")
    hf_home = job.settings.space(job.space_id).home / ".cache" / "huggingface"
    models.share(job.settings, hf_home, job.user)


def _patch(root: Path, spec: SpaceSpec) -> Patch:
    if not sdks.of(spec.sdk).patched:
        return Patch()
    from spaces_runner.patch.source import patch_tree

    return patch_tree(root, spec)


def _lease(job: Job) -> Gpu | None:
    return gpu.lease(Store(job.settings), job.run_id, job.options.gpu, job.settings.visible_gpus)


def _make_room(job: Job, leased: Gpu | None, spec: SpaceSpec) -> tuple[Finding, ...]:
    """On the GPU that the Space gets, if it gets one."""
    if leased is None:
        return ()
    from spaces_runner.core import room

    return room.make(job.run_id, leased, spec.suggested_hardware, job.settings)


def inspect(ref: SpaceRef, options: RunOptions, settings: Settings, report: Reporter) -> Inspection:
    """The whole plan of a Space. Fetches its files, but for large ones, and resolves its packages; starts nothing.

    Raises what a build would raise, GpuUnavailable and SandboxMissing before anything is fetched.
    """
    from spaces_runner import environment
    from spaces_runner.sandbox.choice import required

    gpu.require(options.gpu, settings.visible_gpus)
    sandbox = required(options, settings)
    settings.home_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=INSPECTION, dir=settings.home_dir) as folder:
        Path(folder).chmod(0o755)
        target = Path(folder, "app")
        checkout = look(ref, target, settings, report)
        with report.step(Step.DETECT):
            spec = _detect(checkout, options)
            engine = _engine(checkout.ref, spec, options, settings)
        packages: tuple[Finding, ...] = ()
        resolution = None
        if engine is None:
            packages = _provide(spec, settings, report, yes=False)
            with report.step(Step.ENVIRONMENT):
                scratch = _scratch(Path(folder, "build"))
                under = Confinement(user=inspector(settings), sandbox=sandbox)
                if sdks.of(spec.sdk).package is None:
                    resolution = environment.bare(settings, report)
                else:
                    resolution = environment.resolve(spec, checkout, options, settings, report, under, scratch)
        with report.step(Step.PATCH):
            changes = _patch(target, spec)
    gpus = gpu.inventory(settings.visible_gpus)
    return Inspection(
        checkout=_snapshot(checkout),
        files=checkout.files,
        spec=spec,
        resolution=resolution,
        environment_ready=resolution is not None and environment.stands(resolution, settings),
        patch=changes,
        gpus=gpus,
        gpu_fit=gpu.fit(spec.suggested_hardware, gpus, options.gpu),
        findings=(
            *checkout.findings,
            *spec.findings,
            *packages,
            *(resolution.findings if resolution else ()),
            *changes.findings,
        ),
    )


def _snapshot(checkout: Checkout) -> Snapshot:
    """The checkout without its directory, which is gone when it is told of."""
    return Snapshot(**{field.name: getattr(checkout, field.name) for field in fields(Snapshot)})


def inspector(settings: Settings) -> User | None:
    """Who reads the metadata of source packages while a Space is only looked at: a user below those of the Spaces."""
    return User(uid=settings.uid_base - 1, gid=settings.uid_base - 1) if os.geteuid() == 0 else None


def _scratch(path: Path) -> Path:
    """An empty directory, whatever an interrupted build left there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o755, parents=True)
    return path
