import numpy as np
import pytest
import torch
import transformers


@pytest.fixture
def tolerance() -> float:
    """How much a vector may differ from the reference in float32 on a CPU. A GPU computes in half precision."""
    return 0.03 if torch.cuda.is_available() else 1e-6


@pytest.fixture
def reference_vectors():
    """Embeds texts the usual way: one padded batch with a mask, and the mean over the real tokens."""

    def embed(directory, texts, max_length) -> np.ndarray:
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
        model = transformers.AutoModel.from_pretrained(directory).eval()
        inputs = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.inference_mode():
            states = model(**inputs).last_hidden_state  # [n, L, D]
        mask = inputs["attention_mask"][..., None].float()
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()

    return embed
