"""A classifier's weights with four bits for each number of its matrices: about a seventh of float32.

Every 32 numbers of a row share a scale. They are whole multiples of it, from -8 to 7, two to a byte; the scale is a
float16. A file holds a matrix `NAME` as `NAME.codes` and `NAME.scales`, and all else as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = "packed.safetensors"
"""The file's name; under transformers' own, `from_pretrained` would take it and fill the gaps with random numbers."""
GROUP = 32
_ROWS = 64
"""Matrices with fewer are left as they are."""
_CODES, _SCALES = ".codes", ".scales"


def is_packed(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of that name is stored in four bits: a large matrix that is not of the classifier's head."""
    large = tensor.ndim == 2 and len(tensor) >= _ROWS and tensor.shape[1] % GROUP == 0
    return large and name.endswith(".weight") and not name.startswith("classifier.")


def encode(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix.

    A scale is a seventh of the largest number, not an eighth as elsewhere: numbers that started from a model rounded in
    that way, as E5's do here, would fall back to where they started, and all that they have learned would be lost.

    Args:
        matrix: float32, shape (rows, columns), columns a multiple of 32.

    Returns:
        Codes, uint8, shape (rows, columns / 2), and scales, float16, shape (rows, columns / 32).
    """
    groups = matrix.unflatten(1, (-1, GROUP))
    extreme = groups.gather(2, groups.abs().argmax(dim=2, keepdim=True))
    scales = (extreme / 7).half()
    steps = scales.float()
    codes = (groups / torch.where(steps == 0, 1.0, steps)).round().clamp(-8, 7).to(torch.int8).add(8).to(torch.uint8)
    low, high = codes.chunk(2, dim=2)
    return (low | high << 4).flatten(1), scales.squeeze(2)


def decode(codes: Tensor, scales: Tensor) -> Tensor:
    """The matrix that codes and scales stand for, float32, shape (rows, columns)."""
    halves = codes.unflatten(1, (-1, GROUP // 2))
    whole = torch.cat([halves & 15, halves >> 4], dim=2).float() - 8
    return (whole * scales.float()[..., None]).flatten(1)


def rounded(matrix: Tensor) -> Tensor:
    """The matrix as a file gives it back."""
    return decode(*encode(matrix))


def save_packed(state: Mapping[str, Tensor], folder: Path) -> None:
    """Write a state dict into a folder."""
    stored: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if is_packed(name, tensor):
            stored[name + _CODES], stored[name + _SCALES] = encode(tensor)
        else:
            stored[name] = tensor
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, folder / WEIGHTS)


def load_packed(folder: Path) -> dict[str, Tensor]:
    """The state dict of a folder, in float32.

    Raises:
        ValueError: codes and scales of a matrix do not fit.
        SafetensorError: the file is unreadable.
    """
    stored = load_file(folder / WEIGHTS)
    state = {name: tensor for name, tensor in stored.items() if not name.endswith((_CODES, _SCALES))}
    for matrix in {name.rpartition(".")[0] for name in stored.keys() - state.keys()}:
        codes, scales = (stored.get(matrix + part, torch.empty(0)) for part in (_CODES, _SCALES))
        fit = (
            (codes.dtype, scales.dtype) == (torch.uint8, torch.float16)
            and codes.ndim == 2
            and codes.shape[1] * 2 % GROUP == 0
            and scales.shape == (len(codes), codes.shape[1] * 2 // GROUP)
        )
        if not fit:
            raise ValueError(f"{WEIGHTS}: codes and scales of {matrix} do not fit")
        state[matrix] = decode(codes, scales)
    return state
