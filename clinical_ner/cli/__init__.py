"""The command line, one file per command."""

from ._app import app, main

__all__ = ["app", "main"]
