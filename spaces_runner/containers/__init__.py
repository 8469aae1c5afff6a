"""Docker Spaces: an engine builds their image and runs it. Standard library only: the shim uses it, too.

`nouns` (what a plan carries), `engine` (which one, and whether it works), `image` (built), `buildlog` (what a build
says; pure), `container` (the command that runs it), `tied` (that command's process), `remove` (ended, forgotten).
"""
