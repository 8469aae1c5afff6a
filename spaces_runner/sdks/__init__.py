"""What differs by kind of Space: what its builder installs, how it is started, when it is ready. One file each."""

from __future__ import annotations

from spaces_runner.sdks import docker, gradio, static, streamlit
from spaces_runner.sdks.kind import Kind, Start
from spaces_runner.types import Sdk

_KINDS = {Sdk.GRADIO: gradio.KIND, Sdk.STREAMLIT: streamlit.KIND, Sdk.STATIC: static.KIND, Sdk.DOCKER: docker.KIND}

__all__ = ["Kind", "Start", "of"]


def of(sdk: Sdk) -> Kind:
    """The kind that README.md calls `sdk`."""
    return _KINDS[sdk]
