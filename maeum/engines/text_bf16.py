"""bfloat16 on the CPU: matrices laid out once as oneDNN reads them, instead of at every call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation


class _PackedLinear(nn.Module):
    """A linear layer, with GELU after it where asked.

    Args:
        linear: the layer, in bfloat16.
        gelu: whether to apply the exact GELU to what comes out.
    """

    def __init__(self, linear: nn.Linear, gelu: bool) -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach())
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._then = ("gelu", "none") if gelu else ("none", "")

    def forward(self, states: Tensor) -> Tensor:
        """Shape (…, n_in) to (…, n_out), bfloat16."""
        activation, algorithm = self._then
        result: Tensor = torch.ops.mkldnn._linear_pointwise(states, self._weight, self._bias, activation, [], algorithm)
        return result


def pack(model: Any) -> None:
    """Replace the linear layers of a BERT-like encoder; other architectures are left as they are.

    Args:
        model: in bfloat16 on the CPU; changed in place.
    """
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for name, linear in layers:
        if ".encoder.layer." not in name:
            continue
        parent_name, own_name = name.rsplit(".", 1)
        parent = model.get_submodule(parent_name)
        gelu = isinstance(getattr(parent, "intermediate_act_fn", None), GELUActivation)
        setattr(parent, own_name, _PackedLinear(linear, gelu))
        if gelu:
            parent.intermediate_act_fn = nn.Identity()
