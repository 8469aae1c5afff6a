"""The words and the harmless text that all views share."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import urlsplit

from app.views.words import of_page
from spaces_runner.format import duration
from spaces_runner.sanitize import clean
from spaces_runner.types import Finding, Severity, Stage, Step

STEP_TITLES = {
    Step.CLONE: "Fetch the files",
    Step.LFS: "Fetch the large files",
    Step.DETECT: "Read what kind of Space it is",
    Step.PACKAGES: "Install its system packages",
    Step.ENVIRONMENT: "Build its environment",
    Step.MODELS: "Fetch its models",
    Step.PATCH: "Patch the launch",
    Step.BUILD: "Build its page",
    Step.LAUNCH: "Start the app",
    Step.SHARE: "Open the public link",
}
_SEVERITY = {Severity.INFO: "Note", Severity.WARNING: "Warning", Severity.ERROR: "Problem"}


def escape(value: object) -> str:
    """`value` as text inside HTML, control sequences and all markup made harmless."""
    return html.escape(clean(str(value)))


def epoch(iso: str | None) -> float | None:
    """Seconds since the epoch of an ISO 8601 time; None for none and for what is no time."""
    if iso is None:
        return None
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None


def since(at: float, now: float) -> str:
    """The time since `at`, which the page's script keeps counting in the same words."""
    return f'<time data-since="{at:.3f}" data-now="{now:.3f}">{duration(now - at)}</time>'


def badge(stage: Stage) -> str:
    kind = "bad" if stage.failed else "good" if stage is Stage.RUNNING else "busy" if stage.active else "idle"
    return f'<span class="sr-badge sr-{kind}">{stage.value}</span>'


def link(url: str | None, label: str, *, copied: bool = True) -> str:
    """An anchor to a web address; "" for none and for anything that is not http or https.

    `copied`: with a button that copies it, which the page's script has to serve.
    """
    if url is None or urlsplit(url).scheme not in ("http", "https"):
        return ""
    shown, name = escape(url), escape(label)
    button = f'<button class="sr-button sr-copy" data-copy="{shown}" aria-label="Copy: {name}">Copy</button>'
    return (
        f'<div class="sr-link"><span>{name}</span> '
        f'<a href="{shown}" target="_blank" rel="noopener noreferrer">{shown}</a>{button if copied else ""}</div>'
    )


def lines(content: Iterable[str], label: str) -> str:
    """Log lines that matter, as text."""
    text = escape("\n".join(content))
    return f'<pre class="sr-lines" tabindex="0" aria-label="{escape(label)}">{text}</pre>' if text else ""


def findings(found: Iterable[Finding]) -> str:
    """A list of findings, each once, problems first; without what matters to nobody on this machine."""
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    unique = sorted(dict.fromkeys(filter(_matters, found)), key=lambda finding: order[finding.severity])
    items = "".join(_finding(finding) for finding in unique)
    return f'<ul class="sr-findings">{items}</ul>' if items else ""


def _matters(finding: Finding) -> bool:
    """Which build of torch it is makes no difference without a GPU, and then the finding is a note only."""
    return finding.code != "torch-index-unreachable" or finding.severity is not Severity.INFO


def _finding(finding: Finding) -> str:
    remedy = f'<div class="sr-remedy">{escape(of_page(finding.remedy))}</div>' if finding.remedy else ""
    return (
        f'<li class="sr-{finding.severity.value}"><b>{_SEVERITY[finding.severity]}:</b> {escape(finding.message)}'
        f"{remedy}{lines(finding.lines, 'Lines of this finding')}</li>"
    )
