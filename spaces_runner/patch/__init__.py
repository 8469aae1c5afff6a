"""Source -> patched source and diff: every launch of Gradio's shares, and no other `.launch` is touched."""

from spaces_runner.patch.source import apply, patch_source, patch_tree

__all__ = ["apply", "patch_source", "patch_tree"]
