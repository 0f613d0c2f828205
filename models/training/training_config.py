"""How a model is trained, each field documented where it stands."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. The defaults suit logs of 100 thousand to a few million interactions."""

    seed: int = 0
    """Everything random in training is drawn from this seed; the same data, seed, number of threads and machine
    give the same bits."""

    noise_rate: float = 0.15
    """Share of interactions in the training log that we insert as noise. The noise probability is calibrated for
    this share: it answers "inserted or genuine?" in a log with so many inserted."""

    uniform_share: float = 0.2
    """Share of the inserted noise drawn uniformly over items; the rest follows popularity."""

    held_out_share: float = 0.1
    """Share of users never trained on: once for stopping stage 1, and again, from among the users that stage 1
    has seen, for stopping stage 2 and for calibration."""

    hidden_share: float = 0.15
    """Share of interactions whose text, and as many whose collaborative vector, is hidden in a second view of the
    training data, and of items whose collaborative vector is borrowed there from items of similar text, so that the
    noise head also learns to judge with one modality and with items that the model does not know."""

    collaborative_epochs: int = 20
    """Most epochs of stage 1, next-item prediction."""

    alignment_epochs: int = 6
    """Most epochs of stage 2, interest alignment."""

    context_epochs: int = 6
    """Most epochs of the interests that leave the item out."""

    context_learning_rate: float = 3e-3
    """Adam's learning rate there, in the first epoch; it falls from epoch to epoch."""

    context_negatives: int = 512
    """Negative items per batch there."""

    head_epochs: int = 8
    """Most epochs of the noise head, which trains on agreement features computed once."""

    head_learning_rate: float = 5e-3
    """Adam's learning rate there, in the first epoch; it falls from epoch to epoch."""

    head_weight_decay: float = 0.1
    """Of AdamW there. Without it the head learns the log's own noise, which it is told is genuine, by heart."""

    patience: int = 2
    """Epochs without improvement on held-out users before a stage stops."""

    learning_rate: float = 1e-3
    """Adam's learning rate, wherever no other is named."""

    batch_positions: int = 4096
    """Most padded positions per batch. A small log takes smaller batches, for fifty steps an epoch."""

    ahead_share: float = 0.5
    """Share of positions that stage 1 asks for a random later interaction instead of the next one. Where many
    interactions carry the same time, the order is half chance, and what comes anywhere later says as much."""

    negatives: int = 1024
    """Negative items per batch, shared by its positions."""

    temperature: float = 0.1
    """Divides the cosines of next-item prediction and of both InfoNCE losses."""
