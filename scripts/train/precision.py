"""The processor that trains, and the precision that is fast on it."""

import torch

from maeum.process.cores import has_bf16

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Of the text model's training."""


def autocast() -> torch.autocast:
    """A context that computes in bfloat16 where the processor has it; elsewhere it would be fifty times slower."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_bf16())


def autocast_on_device() -> torch.autocast:
    """The same on `DEVICE`."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda" or has_bf16())
