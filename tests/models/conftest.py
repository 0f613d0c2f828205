import pytest
import torch
from torch.nn import functional as F

from iadsr.models.detector.batch import Batch, IndexedRows


@pytest.fixture
def pad():
    """Returns a batch with padding up to so many steps."""

    def pad(batch, steps):
        more = steps - batch.mask.shape[1]

        def longer(part):
            if isinstance(part, IndexedRows):
                return IndexedRows(part.table, F.pad(part.index, (0, more), value=len(part.table) - 1))
            return torch.cat([part, part.new_zeros(len(part), more, *part.shape[2:])], 1)

        return Batch(*(longer(part) for part in vars(batch).values() if isinstance(part, IndexedRows | torch.Tensor)))

    return pad
