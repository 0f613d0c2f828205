"""What can be set about training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. The defaults suit logs of 100 thousand to a few million interactions."""

    seed: int = 0
    """Everything random in training is drawn from this seed. The same data, seed and machine give the same bits."""

    users: int = 200_000
    """If the log has more users, the net is trained on so many of them, chosen by a hash of their keys and the seed.
    Item counts and the vectors learned from other users see everybody."""

    noise_rate: float = 0.15
    """Share of interactions in the training log that training inserts as noise. The noise probability is calibrated for
    this share: it answers "inserted or genuine?" in a log of which this share was inserted."""

    uniform_share: float = 0.2
    """Share of the single items among the inserted noise that is drawn uniformly over items. The rest follows
    popularity."""

    run_share: float = 0.2
    """Share of the inserted noise that comes in runs: consecutive interactions of one other user, as when two people
    share an account. Without runs, the head learns that items which go together vouch for each other."""

    text_share: float = 0.15
    """Share of the inserted noise that is near in text to an interaction beside it. Without it, the head learns that
    whatever reads like the rest is genuine."""

    block_share: float = 0.1
    """Share of the inserted noise that comes in blocks of unrelated items, as when somebody else's list is imported."""

    current_share: float = 0.3
    """Share of the inserted runs and single items that are drawn from what others choose at that time. Without it, the
    head learns that noise always is out of its time."""

    held_out_share: float = 0.1
    """Share of users that are held out, twice: some from stage 1, to decide when it stops; and as many others, which
    stage 1 has seen, from stage 2, to decide when it stops and to calibrate it."""

    hidden_share: float = 0.15
    """The noise head also sees its training data a second time, made poorer: this share of interactions loses the text,
    as many others lose the collaborative vectors, and this share of items borrows its vectors from items of similar
    text. So the head learns to judge with one modality, and to judge items that are new to the model."""

    collaborative_epochs: int = 10
    """Most epochs of stage 1, next-item prediction."""

    alignment_epochs: int = 6
    """Most epochs of stage 2, interest alignment."""

    context_epochs: int = 6
    """Most epochs of the context, which leaves the item out."""

    context_learning_rate: float = 3e-3
    """Adam's learning rate for the context, in the first epoch. It falls from epoch to epoch."""

    context_negatives: int = 512
    """Negative items per batch for the context."""

    head_epochs: int = 8
    """Epochs of the noise head, which trains on agreement features that are computed once."""

    head_learning_rate: float = 5e-3
    """AdamW's learning rate for the head, in the first epoch. It falls from epoch to epoch."""

    head_weight_decay: float = 0.1
    """AdamW's weight decay for the head. Without it the head learns the log's own noise by heart, as genuine: that is
    how it is labelled."""

    patience: int = 2
    """Epochs without improvement on held-out users before a stage stops."""

    learning_rate: float = 1e-3
    """Adam's learning rate in all other stages."""

    batch_positions: int = 4096
    """Most padded positions per batch. A small log gets smaller batches, for about fifty steps an epoch."""

    ahead_share: float = 0.5
    """Share of positions at which stage 1 predicts a random later interaction instead of the next one. In many logs,
    interactions share a time and their order is half chance; any later interaction then says as much as the next."""

    negatives: int = 1024
    """Negative items per batch, shared by its positions."""

    temperature: float = 0.1
    """Divides the cosines of next-item prediction and of both InfoNCE losses."""
