"""The words that nouns are described with, and that are shown and stored as they stand here. Knows no other module."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The Hub's own names for what a Space is doing (huggingface_hub's `SpaceStage`)."""

    BUILDING = "BUILDING"
    APP_STARTING = "APP_STARTING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    PAUSED = "PAUSED"
    NO_APP_FILE = "NO_APP_FILE"
    CONFIG_ERROR = "CONFIG_ERROR"
    BUILD_ERROR = "BUILD_ERROR"
    RUNTIME_ERROR = "RUNTIME_ERROR"

    @property
    def active(self) -> bool:
        """Whether a shim is at work on the Space."""
        return self in (Stage.BUILDING, Stage.APP_STARTING, Stage.RUNNING)

    @property
    def failed(self) -> bool:
        return self in (Stage.NO_APP_FILE, Stage.CONFIG_ERROR, Stage.BUILD_ERROR, Stage.RUNTIME_ERROR)


class Step(StrEnum):
    """What is being done inside BUILDING and APP_STARTING."""

    CLONE = "clone"
    LFS = "lfs"
    DETECT = "detect"
    PACKAGES = "packages"  # Debian's, of packages.txt
    ENVIRONMENT = "environment"
    MODELS = "models"  # those that the Space has its builder preload
    PATCH = "patch"
    BUILD = "build"  # the app_build_command of a static Space
    LAUNCH = "launch"
    SHARE = "share"


class RefKind(StrEnum):
    HUB = "hub"
    SUBDOMAIN = "subdomain"  # https://owner-name.hf.space: which repository that is, only the Hub can tell
    GIT = "git"
    DIRECTORY = "directory"
    CORE = "core"  # the inference core, which is run as Spaces are and is none


class Sdk(StrEnum):
    GRADIO = "gradio"
    STREAMLIT = "streamlit"
    STATIC = "static"
    DOCKER = "docker"


class Ready(StrEnum):
    """How it is known that an app is up."""

    ANSWERS = "answers"  # a port answers HTTP, whether the app reported it or not
    SCRIPT = "script"  # its script ran for a visitor: the page answers whatever becomes of the script


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ResolvedHow(StrEnum):
    """The rung of the ladder on which the requirements resolved."""

    JOINT = "joint"  # as the Hub builds today: requirements and Gradio in one resolution
    AS_OF_DATE = "as-of-date"  # the packages that existed when the Space was last changed
    LEGACY = "legacy"  # the Hub's order until 2024: requirements, then Gradio over them
