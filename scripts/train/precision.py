"""The processor that trains, and the precision that is fast on it."""

import torch

from maeum.process.cores import has_bf16

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Of the text model's training."""
_CPU = torch.device("cpu")


def autocast(device: torch.device = _CPU) -> torch.autocast:
    """A context that computes in bfloat16 where the processor has it; elsewhere it would be fifty times slower."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or has_bf16())
