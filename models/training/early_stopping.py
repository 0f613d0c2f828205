"""Early stopping: train until held-out users no longer gain, then restore the best epoch."""

import copy
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass
class EarlyStopping:
    """Remembers the best state of a module, by a measurement on held-out users. Lower is better."""

    module: nn.Module
    """The module that is being trained."""
    patience: int
    """Epochs without improvement after which training stops."""
    best: float = float("inf")
    """The best measurement so far."""
    best_epoch: int = 0
    """Its epoch, from 1; 0 if nothing was measured yet."""
    _state: dict[str, Any] = field(default_factory=dict)

    def stop_after(self, epoch: int, measured: float) -> bool:
        """Notes the measurement after an epoch (from 1), and returns whether training should stop."""
        if measured < self.best:
            self.best, self.best_epoch = measured, epoch
            self._state = copy.deepcopy(self.module.state_dict())
        return epoch - self.best_epoch >= self.patience

    def restore_best(self) -> None:
        """Puts the best state back into the module. Leaves it unchanged if nothing was measured."""
        if self._state:
            self.module.load_state_dict(self._state)

    def state(self, *, best: bool = True) -> dict[str, Any]:
        """Returns everything but the module, as tensors and plain values; the best state only if asked for."""
        return {"best": self.best, "best_epoch": self.best_epoch, "state": dict(self._state) if best else {}}

    def restore(self, state: dict[str, Any]) -> None:
        """Sets everything back to what `state` has returned."""
        self.best, self.best_epoch, self._state = state["best"], state["best_epoch"], state["state"]
