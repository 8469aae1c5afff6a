"""The command line: one verb per file, each of them parse → call → render. No logic of its own.

Data goes to standard output, everything else to standard error.
"""


def main() -> None:
    """The entry of `spaces-runner`."""
    from spaces_runner.cli.app import app

    app(prog_name="spaces-runner")
