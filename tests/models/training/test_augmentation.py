import numpy as np

from iadsr.models.core.item_vectors import ItemVectors
from iadsr.models.training.augmentation import poorer_version
from iadsr.models.training.training_config import TrainingConfig


def test_items_that_are_read_borrow_vectors_for_a_while():
    generator, items = np.random.default_rng(0), 200
    shapes = [(items, 4), (items, 2, 4), (items, 2, 4), (items, 2, 16)]
    learned = [generator.normal(size=shape).astype(np.float32) for shape in shapes]
    texts, known, read = (
        generator.normal(size=(items, 6)).astype(np.float32),
        np.arange(items) < 150,
        np.arange(200) < 60,
    )
    vectors = ItemVectors(*learned, texts, known, np.ones(items, bool))
    before = [values.copy() for values in learned]
    with poorer_version(vectors, read, TrainingConfig(hidden_share=0.3), np.random.default_rng(1)) as version:
        assert version.vectors is vectors
        for values, old in zip(learned, before, strict=True):
            changed = (values != old).reshape(items, -1).any(1)
            assert 10 < changed[:60].sum() < 30
            assert not changed[60:].any()
    for values, old in zip(learned, before, strict=True):
        assert np.array_equal(values, old)
