"""What can go wrong, by the stage it goes wrong in.

    RunnerError
    ├── RefError                 CONFIG_ERROR   what was pasted is no Space
    ├── CheckoutError            BUILD_ERROR    clone, lfs
    │   ├── SpaceNotFound
    │   ├── AccessDenied                        private or gated, and no token that opens it
    │   ├── RevisionNotFound
    │   ├── FolderNotFound                      no such folder in it, or several that could be meant
    │   ├── NetworkFailed
    │   ├── LfsFailed                           an object is missing, short or corrupt
    │   ├── UnsafeTree                          the repository holds what must not be laid out
    │   └── DiskTooSmall
    │       ├── ModelsTooLarge              models
    │       └── PackagesTooLarge            environment
    ├── NoAppFile                NO_APP_FILE
    ├── ConfigError              CONFIG_ERROR   detect
    │   ├── BadFrontMatter
    │   ├── UnknownSdk
    │   └── EngineMissing                       a Docker Space, and no container engine that works
    ├── BuildError               BUILD_ERROR    environment
    │   ├── AptFailed                       packages
    │   ├── BadRequirements
    │   ├── PythonMissing
    │   ├── Unresolvable
    │   ├── WheelBuildFailed
    │   ├── BuildCommandFailed              build    the app_build_command of a static Space
    │   │   └── NodeMissing
    │   └── ImageBuildFailed                build    the Dockerfile of a Docker Space
    ├── PatchError               BUILD_ERROR    patch
    ├── LaunchError              RUNTIME_ERROR  launch
    │   ├── PortTaken
    │   ├── NeverReady
    │   ├── AppExited
    │   ├── ScriptFailed
    │   ├── CrashLoop
    │   ├── CoreFailed                          the inference core
    │   ├── GpuUnavailable
    │   └── ShimLost
    ├── ShareFailed              RUNTIME_ERROR  share; never ends a run: it becomes a finding
    ├── BadOption                CONFIG_ERROR   what was asked for cannot be meant
    ├── UnknownSpace             CONFIG_ERROR   no such id
    │   └── AmbiguousSpace                      several are called so
    ├── SpaceBusy                CONFIG_ERROR   it runs, so this cannot be done to it
    └── StateError               CONFIG_ERROR   the state database cannot be read or written
        ├── StateFull                           its disk has no room left
        └── StateTooNew                         a newer version of this software wrote it

Every error names a stage, says what happened in one sentence, what to do next in `hint`, and carries the log lines
that say why in `lines`. A foreign exception is mapped once, where the foreign code is called, with `raise … from`.
"""

from __future__ import annotations

from typing import ClassVar

from spaces_runner.types import ErrorInfo, Stage, Step


class RunnerError(Exception):
    """The base. `code` is stable and meant for programs; `message` and `hint` are for people."""

    code: ClassVar[str] = "runner_error"
    stage: ClassVar[Stage] = Stage.RUNTIME_ERROR
    step: ClassVar[Step | None] = None

    def __init__(self, message: str, *, hint: str = "", lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.lines = lines

    @property
    def info(self) -> ErrorInfo:
        return ErrorInfo(
            code=self.code, stage=self.stage, step=self.step, message=self.message, hint=self.hint, lines=self.lines
        )


class ReportedError(RunnerError):
    """An error that another process met and told this one about."""

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(info.message, hint=info.hint, lines=info.lines)
        self.reported = info

    @property
    def info(self) -> ErrorInfo:
        return self.reported


class RefError(RunnerError):
    code = "bad_ref"
    stage = Stage.CONFIG_ERROR


class CheckoutError(RunnerError):
    code = "checkout_failed"
    stage = Stage.BUILD_ERROR
    step = Step.CLONE


class SpaceNotFound(CheckoutError):
    code = "space_not_found"


class AccessDenied(CheckoutError):
    code = "access_denied"


class RevisionNotFound(CheckoutError):
    code = "revision_not_found"


class FolderNotFound(CheckoutError):
    code = "folder_not_found"


class NetworkFailed(CheckoutError):
    code = "network_failed"


class LfsFailed(CheckoutError):
    code = "lfs_failed"
    step = Step.LFS


class UnsafeTree(CheckoutError):
    code = "unsafe_tree"


class DiskTooSmall(CheckoutError):
    code = "disk_too_small"
    step = Step.LFS


class ModelsTooLarge(DiskTooSmall):
    code = "models_too_large"
    step = Step.MODELS


class PackagesTooLarge(DiskTooSmall):
    code = "packages_too_large"
    step = Step.ENVIRONMENT


class NoAppFile(RunnerError):
    code = "no_app_file"
    stage = Stage.NO_APP_FILE
    step = Step.DETECT


class ConfigError(RunnerError):
    code = "config_error"
    stage = Stage.CONFIG_ERROR
    step = Step.DETECT


class BadFrontMatter(ConfigError):
    code = "bad_front_matter"


class UnknownSdk(ConfigError):
    code = "unknown_sdk"


class EngineMissing(ConfigError):
    code = "engine_missing"


class BuildError(RunnerError):
    code = "build_failed"
    stage = Stage.BUILD_ERROR
    step = Step.ENVIRONMENT


class AptFailed(BuildError):
    code = "apt_failed"
    step = Step.PACKAGES


class BadRequirements(BuildError):
    code = "bad_requirements"


class PythonMissing(BuildError):
    code = "python_missing"


class Unresolvable(BuildError):
    code = "unresolvable"


class WheelBuildFailed(BuildError):
    code = "wheel_build_failed"


class BuildCommandFailed(BuildError):
    code = "build_command_failed"
    step = Step.BUILD


class NodeMissing(BuildCommandFailed):
    code = "node_missing"


class ImageBuildFailed(BuildError):
    code = "image_build_failed"
    step = Step.BUILD


class PatchError(RunnerError):
    code = "patch_failed"
    stage = Stage.BUILD_ERROR
    step = Step.PATCH


class LaunchError(RunnerError):
    code = "launch_failed"
    stage = Stage.RUNTIME_ERROR
    step = Step.LAUNCH


class PortTaken(LaunchError):
    code = "port_taken"


class NeverReady(LaunchError):
    code = "never_ready"


class AppExited(LaunchError):
    code = "app_exited"


class ScriptFailed(LaunchError):
    code = "script_failed"


class CrashLoop(LaunchError):
    code = "crash_loop"


class CoreFailed(LaunchError):
    code = "core_failed"


class GpuUnavailable(LaunchError):
    code = "gpu_unavailable"


class SandboxMissing(LaunchError):
    code = "sandbox_missing"


class ShimLost(LaunchError):
    code = "shim_lost"


class ShareFailed(RunnerError):
    code = "share_failed"
    step = Step.SHARE


class BadOption(RunnerError):
    code = "bad_option"
    stage = Stage.CONFIG_ERROR


class UnknownSpace(RunnerError):
    code = "unknown_space"
    stage = Stage.CONFIG_ERROR


class AmbiguousSpace(UnknownSpace):
    code = "ambiguous_space"


class SpaceBusy(RunnerError):
    code = "space_busy"
    stage = Stage.CONFIG_ERROR


class StateError(RunnerError):
    code = "state_unreadable"
    stage = Stage.CONFIG_ERROR


class StateFull(StateError):
    code = "state_full"


class StateTooNew(StateError):
    code = "state_too_new"
