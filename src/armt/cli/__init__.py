"""The command line."""

from armt.cli.app import app, main

__all__ = ["app", "main"]
