"""The plan of a Space as a card. Pure."""

from __future__ import annotations

import re

from app.machine.environments import EnvironmentSize
from app.views.remedy import secret_field
from app.views.text import escape, findings
from spaces_runner.format import size
from spaces_runner.types import Inspection, ResolvedHow, Sdk

_HOW = {
    ResolvedHow.JOINT: "with today's packages",
    ResolvedHow.AS_OF_DATE: "with the packages of the time it was written",
    ResolvedHow.LEGACY: "in the order the Hub used until 2024",
}


def render(inspection: Inspection, environment: EnvironmentSize) -> str:
    spec, checkout = inspection.spec, inspection.checkout
    title = escape(spec.title or checkout.ref.name)
    emoji = f'<span class="sr-emoji" aria-hidden="true">{escape(spec.emoji)}</span>' if spec.emoji else ""
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(inspection, environment) if value
    )
    return (
        f'<article class="sr-card"><h2>{emoji}{title}</h2>'
        f'<p class="sr-quiet">{escape(checkout.ref)} at {escape(checkout.commit[:12])}. Nothing was started.</p>'
        f'<dl class="sr-facts">{facts}</dl>{_missing(inspection)}{findings(inspection.findings)}</article>'
    )


def _missing(inspection: Inspection) -> str:
    """A field for each secret that the Space cannot do without and has not been given."""
    names = dict.fromkeys(finding.message for finding in inspection.findings if finding.code == "missing-secret")
    missing = [name for name in inspection.spec.secrets if any(_names(message, name) for message in names)]
    items = "".join(
        f'<li>{secret_field(name)}<button class="sr-button" data-action="secret" data-name="{escape(name)}">'
        "Keep this secret</button></li>"
        for name in missing
    )
    return f'<ul class="sr-retry" aria-label="Missing secrets">{items}</ul>' if items else ""


def _names(message: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", message) is not None


def _facts(inspection: Inspection, environment: EnvironmentSize) -> list[tuple[str, str]]:
    spec, resolution = inspection.spec, inspection.resolution
    missing = ", ".join(f"<code>{escape(name)}</code>" for name in spec.secrets)
    return [
        ("SDK", escape(f"{_title(spec.sdk)} {spec.sdk_version or ''}".strip())),
        ("Python", escape(resolution.python_version) if resolution else ""),
        ("App file", f"<code>{escape(spec.app_file)}</code>"),
        ("Built by", f"<code>{escape(spec.build_command)}</code>" if spec.build_command else ""),
        ("Size", _size(inspection)),
        ("Environment", _environment(inspection)),
        ("Size of the environment", _room(inspection, environment)),
        ("Secrets it reads", missing),
        ("Debian packages", escape(", ".join(spec.packages))),
        ("Models", escape(", ".join(spec.models[:6]))),
        ("Hardware it asks for", escape(spec.suggested_hardware or "")),
        ("GPU", escape(inspection.gpu_fit)),
    ]


def _title(sdk: Sdk) -> str:
    return sdk.value.capitalize()


def _size(inspection: Inspection) -> str:
    checkout = inspection.checkout
    large = f", {size(checkout.lfs_bytes)} of it in large files" if checkout.lfs_bytes else ""
    return f"{size(checkout.size_bytes)}{large}"


def _environment(inspection: Inspection) -> str:
    resolution = inspection.resolution
    if resolution is None:
        return "an image of its own, which will be built"
    ready = "stands already" if inspection.environment_ready else "will be built"
    dated = f" ({escape(resolution.exclude_newer[:10])})" if resolution.exclude_newer else ""
    return f"{len(resolution.packages)} packages, {_HOW[resolution.how]}{dated}; {ready}"


def _room(inspection: Inspection, environment: EnvironmentSize) -> str:
    if inspection.environment_ready:
        return f"{size(environment.disk)} on disk"
    if not environment.fetched:
        return "not known before its first launch"
    packages = "1 package says" if environment.unknown == 1 else f"{environment.unknown} packages say"
    rest = f", and {packages} no size" if environment.unknown else ""
    return f"up to {size(environment.fetched)} to fetch{rest}; on disk it is larger"
