"""The engines for the other servers: as anybody would load them, or with what maeum's processes do for themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from maeum.assembly import load_speech, load_text, load_voice
from maeum.process.cores import one_blas_thread
from maeum.process.memory import keep_freed_memory, loading
from maeum.settings import Settings

Engine = Callable[[Any], list[Any]]


def load_engines(settings: Settings, *, tuned: bool) -> tuple[Engine, Engine, Engine]:
    """The three models.

    Args:
        settings: name them.
        tuned: whether memory, garbage collector and threads are set as in maeum's own processes.

    Returns:
        Speech, text and voice: from a batch to a result for each item.
    """
    if not tuned:
        return load_speech(settings).transcribe, load_text(settings).classify, load_voice(settings).classify
    keep_freed_memory()
    one_blas_thread()
    with loading():
        speech, text, voice = load_speech(settings), load_text(settings), load_voice(settings)

    def on_one_thread(items: Any) -> list[Any]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return voice.classify(items)
        finally:
            torch.set_num_threads(threads)

    return speech.transcribe, text.classify, on_one_thread
