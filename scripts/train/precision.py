"""The precision that is fast on this processor."""

import torch


def autocast() -> torch.autocast:
    """A context that computes in bfloat16 where the processor has it; elsewhere it would be fifty times slower."""
    return torch.autocast("cpu", torch.bfloat16, enabled=bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))
