"""The command line: options, configuration files, exit codes."""

from .app import main

__all__ = ["main"]
