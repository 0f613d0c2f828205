"""Runs the command line as `python -m iadsr.pipeline`."""

from .cli import main

if __name__ == "__main__":
    main()
