"""Leave a layer of Whisper tiny's decoder out and cut the feed-forward layers down, at as little loss as can be."""

import random

import numpy as np
import torch
from speech_network import PADDING_STRIDE, Whisper
from speech_voice import Pool
from speech_windows import log_mel
from tokenizers import Tokenizer
from torch import Tensor, nn

CALIBRATION_CLIPS = 80  # of people, and as many spoken by the synthesisers
MAX_FRAMES = 60_000
# Of Whisper tiny's four; the last holds most heads that follow the sound. Without any one of them the decoder writes
# nonsense at first, but three that learn from the four say more like them than four narrower ones do.
DECODER_LAYERS = (0, 1, 3)

Tensors = dict[str, Tensor]


def cut_down(model: Whisper, whole: Whisper, tokenizer: Tokenizer, pool: Pool, people: Pool) -> None:
    """Give a network the weights of a larger one.

    Of each feed-forward layer the units that say most are kept, and the matrix after them is fitted again on
    calibration sound.

    Args:
        model: takes the weights.
        whole: of Whisper tiny's four decoder layers.
        tokenizer: of both.
        pool: spoken sentences.
        people: people with what Whisper hears.
    """
    shape = model.shape
    weights = whole.state_dict()
    kept_layers = {"encoder": range(len(shape.encoder_inner)), "decoder": DECODER_LAYERS}
    inners = {"encoder": shape.encoder_inner, "decoder": shape.decoder_inner}
    cut = {name: value for name, value in weights.items() if not name.startswith("decoder.layer_")}
    cut |= {name: value for name, value in weights.items() if name.startswith("decoder.layer_norm")}
    inputs = _calibrate(whole, tokenizer, pool, people)
    for part, layers in kept_layers.items():
        for index, source in enumerate(layers):
            old, new = f"{part}.layer_{source}.", f"{part}.layer_{index}."
            cut |= {new + name.removeprefix(old): value for name, value in weights.items() if name.startswith(old)}
            kept, weight, bias = narrow(inputs[f"{old}ffn"], weights[f"{old}ffn.linear_1.weight"], inners[part][index])
            for leaf in ("weight", "bias"):
                cut[f"{new}ffn.linear_0.{leaf}"] = weights[f"{old}ffn.linear_0.{leaf}"][kept]
            cut[f"{new}ffn.linear_1.weight"] = weight
            cut[f"{new}ffn.linear_1.bias"] = weights[f"{old}ffn.linear_1.bias"] + bias
    model.load_state_dict(cut)


def _calibrate(whole: Whisper, tokenizer: Tokenizer, pool: Pool, people: Pool) -> Tensors:
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
        for utterance in (one.draw(rng) for _ in range(CALIBRATION_CLIPS) for one in (people, pool)):
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
