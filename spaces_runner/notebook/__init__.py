"""A notebook as a face: what its cells call, and the program that they start.

The kernel's Python is the image's, and may be older than the runner can use. So `cells`, `python`, `helper`, `chat` and
`shown` run in the kernel with nothing but the standard library of Python 3.8; all else runs in a Python that `python`
finds or brings, as `python -m spaces_runner.notebook`. The two talk by lines of JSON.
"""
