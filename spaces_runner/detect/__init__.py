"""Checkout -> SpaceSpec: what a Space says about itself, and what its code gives away."""

from spaces_runner.detect.spec import detect

__all__ = ["detect"]
