"""What the commands have in common when they write for people."""

from __future__ import annotations

import sys

from rich.console import Console


class OutputConsole(Console):
    """Stdout, which whoever read it may leave: rich would end the program as if something had failed."""

    def on_broken_pipe(self) -> None:
        """Leave it to the program."""
        raise BrokenPipeError


def printable(text: str) -> str:
    """Replace what a terminal would obey instead of show: control and unpaired characters."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def reconfigure_stdout(**options: str) -> None:
    """Change encoding or errors of stdout, where it is a stream that can: not every stand-in for it is."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(**options)
