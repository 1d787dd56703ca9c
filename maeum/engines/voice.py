"""Voice emotion: the reference network over a batch of feature windows."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from maeum.audio.features import N_FRAMES
from maeum.audio.mfcc import N_MFCC
from maeum.engines.voice_network import VoiceNetwork
from maeum.errors import ModelInvalid, ModelMissing
from maeum.labels import read_voice_labels
from maeum.stages import Failure, Probabilities

WEIGHTS_FILE = "pytorch_model.pth"
_NOT_FINITE = Failure("voice_failed", "the voice features, or what the voice model makes of them, are not finite")


class VoiceEngine:
    """Holds the network; knows nothing of where the windows come from.

    Args:
        folder: `pytorch_model.pth`, a state dict, and `labels.json`. A `model.py` beside them is never executed.
        device: `cpu` or `cuda`.

    Raises:
        ModelMissing: there is no state dict.
        ModelInvalid: the state dict is unreadable, holds more than tensors, or does not fit the network strictly.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        self.labels = read_voice_labels(folder)
        self._device = torch.device(device)
        network = VoiceNetwork(len(self.labels))
        try:
            network.load_state_dict(_read_state_dict(folder / WEIGHTS_FILE), strict=True)
        except RuntimeError as error:
            raise ModelInvalid(f"{WEIGHTS_FILE} does not fit the voice network: {error}") from error
        self._network = network.to(self._device).eval()

    def classify(self, deltas: NDArray[np.float32]) -> list[Probabilities | Failure]:
        """Classify windows in one forward pass.

        Args:
            deltas: float32, shape (n, 100, 13), baseline-normalised MFCCs.

        Returns:
            n probabilities in the order of `labels`; a `Failure` where a window or its logits are not finite.
        """
        if deltas.ndim != 3 or deltas.shape[1:] != (N_FRAMES, N_MFCC):
            raise ValueError(f"deltas must have the shape (n, {N_FRAMES}, {N_MFCC}), not {deltas.shape}")
        if not len(deltas):
            return []
        finite = np.array([np.isfinite(delta).all() for delta in deltas])
        clean = np.where(finite[:, None, None], deltas, np.float32(0))
        windows = torch.from_numpy(np.ascontiguousarray(clean.transpose(0, 2, 1), dtype=np.float32))
        with torch.inference_mode():
            logits = self._network(windows.to(self._device))
            rows = torch.softmax(logits.double(), dim=1).cpu().numpy()
        return [
            tuple(row.tolist()) if ok and np.isfinite(row).all() else _NOT_FINITE
            for row, ok in zip(rows, finite, strict=True)
        ]

    def warm_up(self) -> None:
        """Answer once, so that the first request does not pay for the first use.

        Raises:
            ModelInvalid: the answer is not finite.
        """
        if self.classify(np.zeros((1, N_FRAMES, N_MFCC), np.float32)) == [_NOT_FINITE]:
            raise ModelInvalid("the voice model gives no finite numbers: its weights are damaged")


def _read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ModelMissing(f"the voice model has no {path.name}")
    try:
        # weights_only: a .pth is a pickle, and a pickle is code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise ModelInvalid(f"{path.name} is no readable state dict") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelInvalid(f"{path.name} must hold tensors by name")
    return state
