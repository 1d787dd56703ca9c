"""The command line, `maeum`: each command is a module here."""

from maeum.cli.commands import main

__all__ = ["main"]
