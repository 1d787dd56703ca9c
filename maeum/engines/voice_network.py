"""The network that hears emotion in a voice: two convolutions, a bidirectional LSTM, two dense layers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from maeum.audio.mfcc import N_MFCC


class VoiceNetwork(nn.Module):
    """Emotion logits from one window of baseline-normalised MFCCs.

    The attribute names are the keys of the state dict that the weights come in, so they are part of the file format.
    """

    def __init__(self, n_labels: int) -> None:
        """Build the network with random weights.

        Args:
            n_labels: number of emotions, the length of `labels.json`.
        """
        super().__init__()
        self.conv1 = nn.Conv1d(N_MFCC, 64, kernel_size=5, padding="same")
        self.bn1 = nn.BatchNorm1d(64)
        self.conv2 = nn.Conv1d(64, 128, kernel_size=3, padding="same")
        self.bn2 = nn.BatchNorm1d(128)
        self.bilstm = nn.LSTM(128, 64, bidirectional=True, batch_first=True)
        self.dense1 = nn.Linear(128, 128)
        self.dense2 = nn.Linear(128, n_labels)

    def forward(self, windows: Tensor) -> Tensor:
        """Score a batch of windows.

        Args:
            windows: float32, shape (batch, 13, 100).

        Returns:
            Logits: float32, shape (batch, n_labels).
        """
        hidden: Tensor = functional.max_pool1d(functional.relu(self.bn1(self.conv1(windows))), 2)
        hidden = functional.max_pool1d(functional.relu(self.bn2(self.conv2(hidden))), 2)
        _, (last, _) = self.bilstm(hidden.transpose(1, 2))
        # last: (2, batch, 64), the forward direction's final state, then the backward one's.
        hidden = functional.relu(self.dense1(torch.cat((last[0], last[1]), dim=1)))
        logits: Tensor = self.dense2(hidden)
        return logits
