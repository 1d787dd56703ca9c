"""Cut a network's feed-forward layers down, so that it says nearly what it said before."""

import random
from dataclasses import replace

import numpy as np
import torch
from speech_network import PADDING_STRIDE, WHISPER_INNER, Encoder, Whisper
from speech_people import People
from speech_voice import Pool
from speech_windows import log_mel
from tokenizers import Tokenizer
from torch import Tensor, nn

CALIBRATION_CLIPS = 80  # of people, and as many of espeak-ng
MAX_FRAMES = 60_000

Tensors = dict[str, Tensor]


def cut_down(model: Whisper, weights: Tensors, tokenizer: Tokenizer, pool: Pool, people: People) -> Encoder:
    """Give a model the weights of one with wider feed-forward layers.

    Of each such layer the units that say most are kept, and the matrix after them is fitted again on calibration sound.

    Args:
        model: takes the weights.
        weights: of a network that differs in its feed-forward layers alone.
        tokenizer: of both.
        pool: speech of espeak-ng.
        people: speech of people.

    Returns:
        The encoder as it was.
    """
    shape = model.shape
    whole = Whisper(replace(shape, encoder_inner=WHISPER_INNER, decoder_inner=WHISPER_INNER))
    whole.load_state_dict(weights)
    whole.eval()
    cut = dict(weights)
    for name, inputs in _calibrate(whole, tokenizer, pool, people).items():
        inner = shape.encoder_inner if name.startswith("encoder") else shape.decoder_inner
        kept, weight, bias = narrow(inputs, cut[f"{name}.linear_1.weight"], inner)
        for part in ("weight", "bias"):
            cut[f"{name}.linear_0.{part}"] = cut[f"{name}.linear_0.{part}"][kept]
        cut[f"{name}.linear_1.weight"] = weight
        cut[f"{name}.linear_1.bias"] = cut[f"{name}.linear_1.bias"] + bias
    model.load_state_dict(cut)
    return whole.encoder.requires_grad_(False)


def _calibrate(whole: Whisper, tokenizer: Tokenizer, pool: Pool, people: People) -> Tensors:
    """What goes into the second matrix of each feed-forward layer: (frames, inner) by the layer's name."""
    seen: dict[str, list[Tensor]] = {}
    hooks = []
    for name, module in whole.named_modules():
        if name.endswith(".ffn"):
            kept = seen.setdefault(name, [])

            def keep(_: nn.Module, inputs: tuple[Tensor], kept: list[Tensor] = kept) -> None:
                kept.append(inputs[0].flatten(0, 1))

            hooks.append(module.get_submodule("linear_1").register_forward_pre_hook(keep))
    rng = random.Random(0)
    begin = [tokenizer.token_to_id("<|startoftranscript|>"), tokenizer.token_to_id("<|notimestamps|>")]
    with torch.no_grad():
        for _ in range(CALIBRATION_CLIPS):
            whole.encoder(people.batch(rng), PADDING_STRIDE)
            utterance = pool.draw(rng)
            mel = log_mel(np.float32(1 / 32768) * utterance.pcm.astype(np.float32))
            audio, _, bias = whole.encoder(
                nn.functional.pad(mel[:, : mel.shape[1] // 2 * 2], (0, 4))[None], PADDING_STRIDE
            )
            whole.decoder(torch.tensor([[*begin, *tokenizer.encode(" " + utterance.text).ids]]), audio, bias)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(inputs) for name, inputs in seen.items()}


def narrow(inputs: Tensor, weight: Tensor, inner: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the units that say most, and fit the matrix after them to say what all said.

    Returns:
        Indices of the units kept, (inner,), the matrix (width, inner), and what is added to the bias (width,).
    """
    inputs = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:MAX_FRAMES]]
    kept = (inputs.std(0) * weight.norm(dim=0)).topk(inner).indices.sort().values
    known = torch.cat([inputs[:, kept], torch.ones(len(inputs), 1)], 1).double()
    square = known.T @ known
    square += torch.eye(len(square)) * square.diagonal().mean() * 1e-4
    fitted = torch.linalg.solve(square, known.T @ (inputs @ weight.T).double()).float()
    return kept, fitted[:-1].T.contiguous(), fitted[-1]
