"""`python -m spaces_runner` is `spaces-runner`."""

from spaces_runner.cli import main

if __name__ == "__main__":
    main()
