"""The two noise heads: what turns the features of an interaction into the logit that it is noise.

All that differs between the two is here: which features and vectors a head reads, and how it is trained.
"""

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..noise.insertion import NOISE_KINDS
from .agreement import near_means
from .features import FEATURES, NEIGHBOURHOOD, SIMILARITIES
from .linear import EVEN_COLUMNS, Linear, linear
from .model_config import HeadName, IADSRConfig

if TYPE_CHECKING:
    from .batch import Batch
    from .iadsr import IADSR
    from .interests import Interests

LOGITS = 2
"""What a head gives of an interaction: the logit that it is noise of any kind that training inserts, and the logit that
it is a stray, noise by itself. Weights follow from the second."""

STRAYS = [NOISE_KINDS.index(kind) for kind in ("single", "text")]
"""Which of NOISE_KINDS are strays."""

MIN_KIND_SHARE = 0.5
"""A kind of noise is named if it is more probable than this among all kinds."""

_NEIGHBOUR_COLUMNS = [FEATURES.index(name) for name in NEIGHBOURHOOD]


class Head(nn.Sequential):
    """What both heads have in common.

    The layers are part of every model, so that all model files hold the same tensors. Only `AgreementHead` uses them.
    """

    feature_names: ClassVar[tuple[str, ...]]
    """The features that the head reads, in their order; F of them."""
    reads_other_users: ClassVar[bool]
    """Whether the head reads vectors that were learned from other users: `co_occurrence` and `company`."""
    leaves_item_out: ClassVar[bool]
    """Whether the long-term interests that an item is compared with leave the item out."""
    trains: ClassVar[bool]
    """Whether the layers are trained on inserted noise."""
    kind_shift: Tensor
    """Added to the log odds of each of NOISE_KINDS, [K]. Training inserts more of the rare kinds than it expects in a
    log, to learn them; this puts them back to what is expected."""
    card_note: ClassVar[str]
    """How the model card goes on after naming the paper."""

    def __init__(self, config: IADSRConfig):
        super().__init__(
            Linear(2 * len(FEATURES) + 1, config.head_dimension),
            nn.ReLU(inplace=True),
            Linear(config.head_dimension, config.head_dimension),
            nn.ReLU(inplace=True),
            Linear(config.head_dimension, len(NOISE_KINDS)),
        )
        self.register_buffer("kind_shift", torch.zeros(len(NOISE_KINDS)))

    def features(self, model: "IADSR", batch: "Batch", interests: "Interests") -> tuple[Tensor, Tensor]:
        """Returns the features of each interaction, [B, T, F], 0 where not defined; and where they are, bool."""
        raise NotImplementedError

    def kinds(self, features: Tensor, defined: Tensor, length: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Computes the log odds of each of NOISE_KINDS against genuine, as frequent as in training, [..., K].

        Args:
            features: [..., F]; 0 where they are not defined.
            defined: bool [..., F].
            length: Interactions in the whole history of each row, [...].
            mean: Mean of all FEATURES in training, by which they are standardised.
            deviation: Their standard deviation.
        """
        raise NotImplementedError


def logits_of(kinds: Tensor) -> Tensor:
    """Adds up the odds of the kinds: of all, and of strays. Returns both logits, before calibration, [..., LOGITS].

    Args:
        kinds: Log odds of each of NOISE_KINDS, as frequent as they are expected, [..., K].
    """
    return torch.stack([kinds.logsumexp(-1), kinds[..., STRAYS].logsumexp(-1)], dim=-1)


def likely_kind(kinds: Tensor) -> Tensor:
    """Returns which of NOISE_KINDS noise here is, if it is more probably of this kind than of all others, else 0.

    0 stands for the first kind: single items, of which there is nothing else to say.

    Args:
        kinds: As in `logits_of`.

    Returns:
        int64 [...].
    """
    share, kind = kinds.softmax(-1).max(-1)
    return kind * (share > MIN_KIND_SHARE)


class AgreementHead(Head):
    """A network that learned from noise which training inserted, and reads all features."""

    feature_names = FEATURES
    reads_other_users = True
    leaves_item_out = True
    trains = True
    card_note = """, with leave-one-out
interests, vectors learned from other users than the one who is judged, and a noise head trained on noise inserted into
the log"""

    def features(self, model: "IADSR", batch: "Batch", interests: "Interests") -> tuple[Tensor, Tensor]:
        """Returns all features, [B, T, F], 0 where not defined; and where they are, bool [B, T, F]."""
        parts = [
            model.similarities(interests, batch),
            model.forecasts(batch, interests),
            model.context.agreement(batch),
            model.activity(batch),
            *model.view_agreements(batch),
        ]
        values, defined = (torch.cat(tensors, dim=-1) for tensors in zip(*parts, strict=True))
        means, known = near_means(values, defined, _NEIGHBOUR_COLUMNS)
        real = batch.mask[..., None]
        return torch.cat([values, means * real], dim=-1), torch.cat([defined, known & real], dim=-1)  # [B, T, F]

    def kinds(self, features: Tensor, defined: Tensor, length: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Computes the log odds of each of NOISE_KINDS by the network, which reads the logarithm of the length, too."""
        first, *rest = self
        assert isinstance(first, Linear)
        # The weights of the first layer standardise the features: x / deviation, and -mean / deviation if defined.
        number = len(FEATURES)
        of_value, of_defined, of_length = first.weight.split([number, number, 1], dim=1)
        of_value = of_value / deviation
        parts = [of_value, of_defined - of_value * mean, of_length]
        read = [features, defined.to(features), torch.log(length)[..., None]]
        # A multiple of EVEN_COLUMNS, so that `linear` need not copy what is read.
        missing = -(2 * number + 1) % EVEN_COLUMNS
        weight = torch.cat([*parts, of_length.new_zeros(len(of_length), missing)], dim=1)
        hidden = torch.cat([*read, features.new_zeros(1).expand(*features.shape[:-1], missing)], dim=-1)
        hidden = linear(hidden, weight, first.bias)
        for layer in rest:
            hidden = layer(hidden)
        return hidden


class PaperHead(Head):
    """The noise score of the paper: minus the sum of its three similarities. Only its calibration is fitted."""

    feature_names = SIMILARITIES
    reads_other_users = False
    leaves_item_out = False
    trains = False
    card_note = """, with
the noise score of the paper, the sum of its three similarities, calibrated on noise inserted into the log"""

    def features(self, model: "IADSR", batch: "Batch", interests: "Interests") -> tuple[Tensor, Tensor]:
        """Returns the three similarities, [B, T, 3], 0 where not defined; and where they are, bool [B, T, 3]."""
        return model.similarities(interests, batch)

    def kinds(self, features: Tensor, defined: Tensor, length: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Computes minus the sum of the similarities, for single items. Nothing else counts."""
        return F.pad(-features.sum(-1, keepdim=True), (0, len(NOISE_KINDS) - 1), value=-torch.inf)


HEAD_CLASSES: dict[HeadName, type[Head]] = {"agreement": AgreementHead, "paper": PaperHead}


def make_head(config: IADSRConfig) -> Head:
    """Builds the head that `config.head` names."""
    return HEAD_CLASSES[config.head](config)
