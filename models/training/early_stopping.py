"""Early stopping: train until held-out users no longer gain, then go back to where they were best."""

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass
class EarlyStopping:
    """Remembers the best state of a module by a measurement on held-out users, lower being better.

    Attributes:
        module: What is being trained.
        patience: Epochs without improvement that are waited for.
        best: The best measurement so far.
        best_epoch: Its epoch, from 1; 0 when nothing was measured yet.
    """

    module: nn.Module
    patience: int
    best: float = float("inf")
    best_epoch: int = 0
    _state: dict[str, Any] = field(default_factory=dict)

    def stop_after(self, epoch: int, measured: float) -> bool:
        """Notes the measurement after an epoch (from 1) and says whether training should end."""
        if measured < self.best:
            self.best, self.best_epoch = measured, epoch
            self._state = copy.deepcopy(self.module.state_dict())
        return epoch - self.best_epoch >= self.patience

    def restore_best(self) -> None:
        """Puts the best state back into the module; leaves it as it is when nothing was measured."""
        if self._state:
            self.module.load_state_dict(self._state)
