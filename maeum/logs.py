"""Logs are key-value facts on standard error; never a transcript, a file name from a user or a key."""

from __future__ import annotations

import logging


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show maeum's own log lines. For server processes; a library leaves that to its user."""
    logger = logging.getLogger("maeum")
    if logger.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s level=%(levelname)s logger=%(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
