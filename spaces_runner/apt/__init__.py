"""Packages of packages.txt → Debian packages on this machine, or the command that its owner has to type.

Installing changes the whole machine and runs as root, so it wants the owner's yes (`RunOptions.apt`).
"""

from spaces_runner.apt.provide import provide as provide
