"""Whisper's network in torch, with the module names of CTranslate2's model file.

The names agree so that ``speech_folder`` needs no table of correspondences.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_MELS = 80
N_POSITIONS = 1500  # of 20 ms: faster-whisper pads every window to 30 s
N_TEXT_POSITIONS = 448
HEAD_SIZE = 64
WHISPER_INNER = (1536,) * 4  # of Whisper tiny's feed-forward layers, in encoder and decoder
PADDING_STRIDE = 8  # see `Encoder.forward`
ALIGNMENT_HEADS = ((2, 0), (2, 2))  # (decoder layer, head) pulled to each token's time


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the network; `inner` are the widths of the feed-forward layers, one for each layer."""

    vocabulary: int
    width: int = 384
    encoder_inner: tuple[int, ...] = (896, 1024, 576, 576)
    decoder_inner: tuple[int, ...] = (256, 320, 384)


class SelfAttention(nn.Module):
    """Pre-norm self-attention with one matrix for query, key and value."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.linear_0 = nn.Linear(width, 3 * width)
        self.linear_1 = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor | None = None, causal: bool = False) -> Tensor:
        """Residual update; ``x`` is (batch, length, width), ``bias`` broadcasts to the attention scores."""
        q, k, v = (_heads(part) for part in self.linear_0(self.layer_norm(x)).chunk(3, -1))
        if causal:
            bias = q.new_full((q.shape[2], q.shape[2]), float("-inf")).triu(1)
        mixed: Tensor = self.linear_1(_merge(torch.matmul(_attend(q, k, bias), v)))
        return x + mixed


class CrossAttention(nn.Module):
    """Pre-norm attention from text to audio."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.linear_0 = nn.Linear(width, width)
        self.linear_1 = nn.Linear(width, 2 * width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor, audio: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Residual update, and the attention of shape (batch, heads, text, audio)."""
        q = _heads(self.linear_0(self.layer_norm(x)))
        k, v = (_heads(part) for part in self.linear_1(audio).chunk(2, -1))
        weights = _attend(q, k, bias)
        return x + self.linear_2(_merge(torch.matmul(weights, v))), weights


class FeedForward(nn.Module):
    """Pre-norm feed-forward block."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.linear_0 = nn.Linear(width, inner)
        self.linear_1 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Residual update."""
        update: Tensor = self.linear_1(F.gelu(self.linear_0(self.layer_norm(x))))
        return x + update


class EncoderLayer(nn.Module):
    """One encoder layer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width)
        self.ffn = FeedForward(width, inner)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Next hidden states."""
        hidden: Tensor = self.ffn(self.self_attention(x, bias))
        return hidden


class DecoderLayer(nn.Module):
    """One decoder layer."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width)
        self.attention = CrossAttention(width)
        self.ffn = FeedForward(width, inner)

    def forward(self, x: Tensor, audio: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        """Next hidden states, and the attention of each head to the audio."""
        x, weights = self.attention(self.self_attention(x, causal=True), audio, bias)
        return self.ffn(x), weights


class PositionEncodings(nn.Module):
    """A table of positions."""

    def __init__(self, table: Tensor, learned: bool) -> None:
        super().__init__()
        self.encodings = nn.Parameter(table, requires_grad=learned)


class Encoder(nn.Module):
    """Two convolutions and the encoder layers."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_layers = len(shape.encoder_inner)
        self.conv1 = nn.Conv1d(N_MELS, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.position_encodings = PositionEncodings(sinusoids(N_POSITIONS, shape.width), learned=False)
        for index, inner in enumerate(shape.encoder_inner):
            self.add_module(f"layer_{index}", EncoderLayer(shape.width, inner))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, mel: Tensor, padding_stride: int | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Encode windows that are padded to 30 s, most of the padding being left out.

        All of a window's padding is one constant after the convolutions, so every ``padding_stride``-th position of
        it, counted that many times in the attention, stands for the whole at a fraction of the cost.

        Args:
            mel: float32, shape (batch, 80, 2 * n + 4), whose last four frames are padding (zeros).
            padding_stride: keep one in so many positions after the first n; None leaves the window unpadded.

        Returns:
            Hidden states (batch, n + kept, width), the position (20 ms) of each, and the attention bias or None.
        """
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        n = mel.shape[-1] // 2 - 2
        positions = torch.arange(n, device=mel.device)
        bias = None
        if padding_stride is None or n >= N_POSITIONS:
            hidden = hidden[:, :n]
        else:
            # A full window leaves less room than half a stride: then nothing of the padding is kept.
            first = min(n + padding_stride // 2, N_POSITIONS)
            kept = torch.arange(first, N_POSITIONS, padding_stride, device=mel.device)
            positions = torch.cat([positions, kept])
            hidden = torch.cat([hidden[:, :n], hidden[:, n : n + 1].expand(-1, len(kept), -1)], 1)
            if padding_stride > 1 and len(kept):
                bias = mel.new_zeros(1, 1, 1, len(positions))
                bias[..., n:] = math.log((N_POSITIONS - n) / len(kept))
        x = hidden + self.position_encodings.encodings[positions]
        for index in range(self.n_layers):
            x = self.get_submodule(f"layer_{index}")(x, bias)
        return self.layer_norm(x), positions, bias


class Decoder(nn.Module):
    """The text decoder; its output matrix is the embedding matrix."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.n_layers = len(shape.decoder_inner)
        self.embeddings = nn.Embedding(shape.vocabulary, shape.width)
        self.position_encodings = PositionEncodings(0.02 * torch.randn(N_TEXT_POSITIONS, shape.width), learned=True)
        for index, inner in enumerate(shape.decoder_inner):
            self.add_module(f"layer_{index}", DecoderLayer(shape.width, inner))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, tokens: Tensor, audio: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits (batch, length, vocabulary) and the attention of the alignment heads (batch, 2, length, audio)."""
        x = self.embeddings(tokens) + self.position_encodings.encodings[: tokens.shape[1]]
        weights = x.new_zeros(())
        for index in range(self.n_layers):
            x, weights = self.get_submodule(f"layer_{index}")(x, audio, bias)
        return F.linear(self.layer_norm(x), self.embeddings.weight), weights[:, [head for _, head in ALIGNMENT_HEADS]]


class Whisper(nn.Module):
    """Encoder and decoder, with random weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.decoder.embeddings.weight, std=0.02)


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's position table, shape (length, width)."""
    rates = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def relative_error(given: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error of states (batch, length, width) over the wanted states' variance."""
    wanted = wanted.float()
    return F.mse_loss(given.float(), wanted) / wanted.flatten(0, 1).var(0).mean()


def _attend(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """Attention weights; on processors this takes half the time of torch's fused attention, which also hides them."""
    scores = torch.matmul(q * HEAD_SIZE**-0.5, k.transpose(-1, -2))
    return torch.softmax(scores if bias is None else scores + bias.to(scores.dtype), -1)


def _heads(x: Tensor) -> Tensor:
    batch, length, _ = x.shape
    return x.view(batch, length, -1, HEAD_SIZE).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)
