"""SpaceRef -> Checkout: a Space's files at one commit, laid out in a directory without `.git`."""

from spaces_runner.checkout.obtain import look, obtain

__all__ = ["look", "obtain"]
