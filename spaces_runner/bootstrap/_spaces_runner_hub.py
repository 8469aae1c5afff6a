"""Gives a Space what the Hub's machine has and this one lacks: its folders, and a visitor who can sign in.

Imported by a .pth file of the Space's overlay, after the bootstrap, in every Python of the family; standard library
only, for Python 3.7 and newer. Folders are given where the Space's code names some: then what Python opens, lists or
starts below /home/user/app, /home/user and /data is the Space's own, unless this machine has such a folder itself.
What other libraries than those of IN_C open in C is out of its sight.
"""

import os
import sys

import _spaces_runner as bootstrap

PATHS = "SPACES_RUNNER_PATHS"  # {"/data": "/…/data"} as JSON
ROOTS = []  # pairs of a folder of the Hub and the Space's own, the longest first

# Functions of os by how many paths they begin with.
ONE = (
    "open", "stat", "lstat", "listdir", "scandir", "mkdir", "rmdir", "remove", "unlink", "readlink", "chdir", "access",
    "chmod", "chown", "utime", "truncate", "statvfs", "mkfifo", "listxattr", "getxattr",
)  # fmt: skip
TWO = ("rename", "replace", "link", "symlink")
NAMES = ("path", "src", "dst", "file", "filename", "database")  # of parameters that are paths
# Functions of common libraries that open one of their first two arguments in C or Rust.
IN_C = {
    "_sqlite3": ("connect",),
    "cv2": ("imread", "imwrite", "VideoCapture", "VideoWriter", "FileStorage", "CascadeClassifier"),
    "safetensors._safetensors_rust": ("safe_open", "serialize_file"),
}


def here(path):
    """`path`, or what stands for it here. What is no path stays as it is."""
    try:
        text = os.fsdecode(path)
    except TypeError:  # a descriptor
        return path
    for hub, own in ROOTS:
        if text == hub or text.startswith(hub + "/"):
            moved = own + text[len(hub) :]
            return os.fsencode(moved) if isinstance(path, bytes) else moved
    return path


def in_text(command):
    """A command, or a word of one, with what stands for the Hub's folders in it."""
    import re

    for hub, own in ROOTS:
        command = re.sub(r"(?<![\w./-])" + hub + r"(?![\w.-])", lambda _, own=own: own, command)
    return command


class Redirected:
    """A function whose first `count` arguments are paths; an object, since old pathlibs make a method of a function."""

    def __init__(self, original, count):
        self.original, self.count = original, count
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            setattr(self, name, getattr(original, name, None))

    def __call__(self, *args, **kwargs):
        args = [here(arg) if number < self.count else arg for number, arg in enumerate(args)]
        return self.original(*args, **{name: here(arg) if name in NAMES else arg for name, arg in kwargs.items()})


def redirect(module, names, count):
    for name in names:
        original = getattr(module, name, None)
        if original is None:
            continue
        redirected = Redirected(original, count)
        for supporting in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if original in supporting:
                supporting.add(redirected)
        setattr(module, name, redirected)


def import_here(entry):
    """Finds modules in an entry of sys.path that is one of the Hub's folders: import asks the system, not os."""
    if here(entry) == entry:
        raise ImportError
    return sys.path_hooks[-1](here(entry))  # the one for folders


def redirect_commands(module):
    @bootstrap.replaces(module.Popen, "__init__")
    def init(init, self, *args, **kwargs):
        if args:
            args = (words(args[0]), *args[1:])
        elif "args" in kwargs:
            kwargs["args"] = words(kwargs["args"])
        if kwargs.get("cwd") is not None:
            kwargs["cwd"] = here(kwargs["cwd"])
        return init(self, *args, **kwargs)


def words(command):
    """What Popen takes: a text, or a list of texts and paths."""
    if isinstance(command, str):
        return in_text(command)
    if isinstance(command, (list, tuple)):
        return [in_text(word) if isinstance(word, str) else here(word) for word in command]
    return here(command)


def redirect_system(module):
    @bootstrap.replaces(module, "system")
    def system(system, command):
        return system(in_text(command) if isinstance(command, str) else command)


def also(name, patch):
    """Has `patch` put on a module after what the bootstrap puts on it."""
    first = bootstrap.PATCHES.get(name)

    def both(module):
        if first is not None:
            first(module)
        patch(module)

    bootstrap.PATCHES[name] = both
    if name in sys.modules:
        patch(sys.modules[name])


def patch_oauth(module):
    """Gradio's login button, which is a stand-in away from the Hub, would end the app where there is no account."""
    if not hasattr(module, "_get_mocked_oauth_info"):
        return

    @bootstrap.replaces(module, "_get_mocked_oauth_info")
    def info(info):
        try:
            return info()
        except Exception as error:  # noqa: BLE001  # no token, not a person's, no network: each has an error of its own
            reason = str(error).splitlines() or [""]
            sys.stderr.write("Spaces Runner signs everybody in as `visitor`: %s\n" % reason[0][:200])  # noqa: UP031  # as above
            return visitor()


def visitor():
    import time

    seconds = 8 * 60 * 60
    return {
        "access_token": "no-token-away-from-the-hub",
        "token_type": "bearer",
        "expires_in": seconds,
        "expires_at": int(time.time()) + seconds,
        "id_token": "",
        "scope": "openid profile",
        "userinfo": {
            "sub": "0",
            "name": "Visitor",
            "preferred_username": "visitor",
            "profile": "https://huggingface.co/visitor",
            "picture": "",
            "website": "",
            "aud": "0",
            "auth_time": int(time.time()),
            "nonce": "0",
            "iat": int(time.time()),
            "exp": int(time.time()) + seconds,
            "iss": "https://huggingface.co",
        },
    }


def give_folders(told):
    import builtins
    import io
    import json

    bootstrap.FAMILY[PATHS] = told  # children that are given an environment of their own get it, too
    there = os.path.exists  # not pathlib: an old one keeps the functions of os as it finds them
    ROOTS[:] = sorted(((hub, own) for hub, own in json.loads(told).items() if not there(hub)), reverse=True)
    if not ROOTS:
        return
    redirect(os, ONE, 1)
    redirect(os, TWO, 2)
    redirect(os.path, ("abspath", "realpath"), 1)
    redirect(io, ("open",), 1)
    builtins.open = io.open
    sys.path_hooks.insert(0, import_here)
    also("os", redirect_system)
    also("subprocess", redirect_commands)
    for module, names in IN_C.items():
        also(module, lambda module, names=names: redirect(module, names, 2))


def start():
    if not bootstrap.FAMILY or "gradio.oauth" in bootstrap.PATCHES:
        return
    also("gradio.oauth", patch_oauth)
    if os.environ.get(PATHS):
        give_folders(os.environ[PATHS])
