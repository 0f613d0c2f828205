"""Fixtures shared by the tests of all three packages."""

from pathlib import Path

import pytest

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "dress", "lamp", "gel", "soap")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A directory with a real BERT of 8 dimensions and random weights; it reads at most 12 tokens of WORDS."""
    import transformers

    directory = tmp_path_factory.mktemp("encoders") / "tiny-bert"
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **SHAPE)
    _save(transformers.BertModel, config, "[CLS] $A [SEP]", directory)
    return directory


@pytest.fixture(scope="session")
def tiny_causal_encoder(tmp_path_factory) -> Path:
    """A directory with a real Llama of 8 dimensions and random weights."""
    import transformers

    directory = tmp_path_factory.mktemp("encoders") / "tiny-llama"
    config = transformers.LlamaConfig(vocab_size=len(WORDS), num_key_value_heads=2, **SHAPE)
    _save(transformers.LlamaForCausalLM, config, "$A", directory)
    return directory


SHAPE = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def _save(model_class, config, template: str, directory: Path) -> None:
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(word, WORDS.index(word)) for word in ("[CLS]", "[SEP]")]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=12, **special)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model_class(config).save_pretrained(directory)
    fast.save_pretrained(directory)
