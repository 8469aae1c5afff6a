"""A running Space inside the page: the part of the page, and the pages of the frame. Pure."""

from __future__ import annotations

from urllib.parse import quote

from app.views.text import escape, link
from spaces_runner.types import SpaceStatus, Stage

# What an app needs of a page of its own. Its origin is not ours, so with both of the first it cannot shed the sandbox.
# What is missing: to lead the page elsewhere (allow-top-navigation), and windows without a sandbox.
_SANDBOX = "allow-scripts allow-same-origin allow-forms allow-popups allow-modals allow-downloads"
_STYLE = """<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
html, body { height: 100%; margin: 0; }
iframe { border: 0; width: 100%; height: 100%; display: block; }
p, div { margin: 1rem; overflow-wrap: anywhere; }
</style>"""


def possible(status: SpaceStatus) -> bool:
    return status.stage is Stage.RUNNING and status.local_url is not None


def part(status: SpaceStatus) -> str:
    """The piece of the owner's page. Another run is another address, so that it is loaded anew."""
    name, run = escape(status.space), quote(status.ready_at or "", safe="")
    return (
        f'<section class="sr-preview" data-space="{escape(status.id)}"><div class="sr-head"><h3>Preview</h3>'
        f'<button class="sr-button" data-action="close" data-space="{escape(status.id)}" '
        f'aria-label="Close the preview of {name}">Close</button></div>'
        f'<iframe src="/previews/{quote(status.id, safe="")}?run={run}" title="Preview of {name}"></iframe></section>'
    )


def frame(url: str, name: str) -> str:
    """The page around the app at `url`."""
    return _document(
        f'<iframe src="{escape(url)}" title="{escape(name)}" sandbox="{_SANDBOX}" allow="clipboard-write; fullscreen" '
        'referrerpolicy="no-referrer"></iframe>'
    )


def sentence(text: str, url: str | None = None) -> str:
    """The page that says why there is no preview; `url` opens in a tab of its own."""
    return _document(f"<p>{escape(text)}</p>{link(url, 'It opens at', copied=False)}")


def _document(body: str) -> str:
    return f'<!doctype html><html lang="en"><head><title>Preview</title>{_STYLE}</head><body>{body}</body></html>'
