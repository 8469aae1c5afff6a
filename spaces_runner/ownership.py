"""Hands a tree over to the user a Space runs as. Knows files and owners, nothing of Spaces."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from spaces_runner.types import User


def hand_over(root: Path, user: User | None) -> None:
    """Make `root` and all below it belong to `user`; nothing happens where there is none (we are not root).

    Links are not followed, and a folder is handed over after what is in it: its new owner cannot swap what comes next.
    A regular file with several names stays ours: it is a hard link to an object of a mirror, which every Space shares
    and none may write.
    """
    if user is None:
        return
    for folder, names, files in os.walk(root, topdown=False):
        for name in (*names, *files):
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                continue
            os.chown(path, user.uid, user.gid, follow_symlinks=False)
    os.chown(root, user.uid, user.gid, follow_symlinks=False)
