"""What can be set about the model."""

from dataclasses import dataclass
from typing import Literal

BackboneName = Literal["gru4rec", "sasrec", "caser"]
BACKBONES: tuple[BackboneName, ...] = ("gru4rec", "sasrec", "caser")
HeadName = Literal["agreement", "paper"]
HEADS: tuple[HeadName, ...] = ("agreement", "paper")

MAX_OVERLAP = 10
"""Most interactions of a neighbouring window that a window sees at either end. They are context, and not judged."""


@dataclass(frozen=True)
class IADSRConfig:
    """The shape of a model: everything needed to rebuild it before its weights are loaded."""

    backbone: BackboneName = "gru4rec"
    """The sequential recommender whose item table and encoder the model is built on."""

    head: HeadName = "agreement"
    """What turns agreement into a noise probability. `agreement` is a network trained on noise that training inserted.
    `paper` is the score of the paper: the sum of the three similarities, with interests that include the item under
    test."""

    collaborative_dimension: int = 64
    """d: length of each kind of collaborative item vector."""

    folds: int = 5
    """Folds that users are dealt into. A user is judged by vectors learned from the users of all other folds."""

    hidden_dimension: int = 128
    """h: length of an interest, the space in which the two modalities are aligned. Even for sasrec."""

    semantic_dimension: int = 384
    """D: length of a text embedding. `train_model` sets it to the length of the embeddings it is given."""

    semantic_components: int = 256
    """k: components of the text embeddings that the model works with. They are those that agree most within users; at
    most D."""

    head_dimension: int = 64
    """Width of the two hidden layers of the noise head."""

    dropout: float = 0.2
    """Share of units dropped in the backbone while training."""

    context_dimension: int = 64
    """c: length of the context vectors, which leave the item out."""

    context_dropout: float = 0.3
    """Share of units dropped in the context while training."""

    max_length: int = 100
    """Most interactions in a window of a longer sequence. An interaction is judged by its window and by the whole
    sequence."""

    @property
    def overlap(self) -> int:
        """Interactions that a window sees of its neighbours at either end."""
        return min(MAX_OVERLAP, self.max_length // 4)

    def __post_init__(self):
        if self.max_length < 3:  # a shorter window could hold a single interaction, with nothing to compare it with
            raise ValueError(f"max_length: expected 3 or more, found {self.max_length}")
        if self.folds < 2:
            raise ValueError(f"folds: expected 2 or more, found {self.folds}")
        if self.backbone == "sasrec" and self.hidden_dimension % 2:
            raise ValueError(
                f"hidden_dimension: sasrec has two heads, expected an even number, found {self.hidden_dimension}"
            )
