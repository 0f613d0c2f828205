"""The IADSR model: interests of two modalities, their alignment, and the probability that an interaction is noise.

Interest Alignment for Denoising Sequential Recommendation (CIKM 2025, arXiv 2510.04239). The model reads item
vectors, never item numbers, so that items it was not trained on can be judged from borrowed vectors. B sequences, T
positions, d collaborative dimensions, D text-embedding dimensions, k components kept of them, h hidden.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .agreement import Chance, View, cosine, leave_one_out_max, leave_one_out_mean, sequence_agreement
from .backbones import make_backbone, read_items
from .batch import Batch, IndexedRows
from .context import READINGS as CONTEXT_READINGS
from .context import TEXT as CONTEXT_TEXT
from .context import Context
from .features import FEATURES, SIMILARITIES, VIEWS
from .model_config import IADSRConfig
from .pretrained import Pretrained

PAPER_READINGS = ("backbone", "short_semantic", "long_semantic")
"""Of READINGS, what the paper's head needs."""


READINGS = (*PAPER_READINGS, "text", "semantic_chance", CONTEXT_TEXT)
"""What the model makes of an item by itself, and need compute only once for all who have it."""


READINGS_BY_FOLD = ("co_occurrence_chance", "company_chance", *CONTEXT_READINGS)
"""Likewise, for each fold of users."""


@dataclass(frozen=True)
class Interests:
    """What the two modalities say a user wants (paper section 4.1). What follows from it is computed when asked for.

    Attributes:
        collaborative: c_t, short-term, [B, T, h].
        semantic: s_t, short-term, of unit length, [B, T, h]; 0 without text.
        texts: W_2 of each item's text, [B, T, h]; 0 without text.
        mask: bool [B, T], real positions.
        has_semantic: bool [B, T].
        leaves_out: Whether long-term interests leave out the item at t.
    """

    collaborative: Tensor
    semantic: Tensor
    texts: Tensor
    mask: Tensor
    has_semantic: Tensor
    leaves_out: bool

    @cached_property
    def user_collaborative(self) -> Tensor:
        """C, the maximum over positions, [B, h]; the paper takes a sequence vector of Caser's own instead."""
        return self.collaborative.masked_fill(~self.mask[..., None], -torch.inf).amax(1)

    @cached_property
    def user_semantic(self) -> Tensor:
        """S, W_2 of the mean text, which has no order, [B, h]."""
        return self.texts.sum(1) / self.has_semantic.sum(1, keepdim=True).clamp(min=1)

    @cached_property
    def long_collaborative(self) -> Tensor:
        """C for each position, [B, T, h], or for all, [B, 1, h]. Interests after t count, and have read the item."""
        if self.leaves_out:
            return leave_one_out_max(self.collaborative, self.mask)
        return self.user_collaborative[:, None]

    @cached_property
    def long_semantic(self) -> Tensor:
        """S for each position, [B, T, h], or for all, [B, 1, h]."""
        if self.leaves_out:
            return leave_one_out_mean(self.texts, self.has_semantic)
        return self.user_semantic[:, None]


class IADSR(Pretrained, nn.Module):
    """Scores how well each interaction fits its user's interests, and how probably it is noise.

    Attributes:
        config: The shape of the model.
        semantic_mean: Mean text embedding of an interaction, [D].
        semantic_basis: Directions of the text embeddings that agree within users, by `fit_text_components`, [D, k].
        feature_mean: Of the agreement features in training, [F].
        feature_deviation: Likewise, [F].
        genuine_mean: Of the three similarities over genuine interactions in training, [3].
        genuine_deviation: Likewise, [3].
        calibration: Scale and shift of the noise logit, fitted on held-out users, [2].
        shortest_history: Length for which all shorter histories count, too, [1]; see `decision.shortest_history`.
    """

    semantic_mean: Tensor
    semantic_basis: Tensor
    feature_mean: Tensor
    feature_deviation: Tensor
    genuine_mean: Tensor
    genuine_deviation: Tensor
    calibration: Tensor
    shortest_history: Tensor

    def __init__(self, config: IADSRConfig):
        super().__init__()
        self.config = config
        d, h = config.collaborative_dimension, config.hidden_dimension
        k = min(config.semantic_components, config.semantic_dimension)
        self.backbone = make_backbone(config)
        self.predict = nn.Linear(h, d)
        self.short_semantic = nn.Linear(k, h, bias=False)  # W_1
        self.long_semantic = nn.Linear(k, h, bias=False)  # W_2
        self.decode = nn.Linear(h, d)
        self.context = Context(config, k)
        self.head = nn.Sequential(
            nn.Linear(2 * len(FEATURES) + 1, config.head_dimension),
            nn.ReLU(inplace=True),
            nn.Linear(config.head_dimension, config.head_dimension),
            nn.ReLU(inplace=True),
            nn.Linear(config.head_dimension, 1),
        )
        sizes = {"co_occurrence": d, "company": d, "semantic": k}
        self.chance = nn.ModuleDict({view: Chance(sizes[view]) for view in VIEWS})
        for name, start in {
            "semantic_mean": torch.zeros(config.semantic_dimension),
            "semantic_basis": torch.zeros(config.semantic_dimension, k).fill_diagonal_(1),
            "feature_mean": torch.zeros(len(FEATURES)),
            "feature_deviation": torch.ones(len(FEATURES)),
            "genuine_mean": torch.zeros(len(SIMILARITIES)),
            "genuine_deviation": torch.ones(len(SIMILARITIES)),
            "calibration": torch.tensor([1.0, 0.0]),
            "shortest_history": torch.ones(1),
        }.items():
            self.register_buffer(name, start)

    @property
    def chances(self) -> list[Chance]:
        """The similarity that chance gives in each of VIEWS."""
        return [module for module in self.chance.values() if isinstance(module, Chance)]

    def reduce_semantic(self, vectors: Tensor) -> Tensor:
        """Maps raw text embeddings [n, D] to the components that the model works with, [n, k]."""
        return (vectors - self.semantic_mean) @ self.semantic_basis

    def reading(self, name: str, batch: Batch) -> Tensor:
        """Returns what the model makes of each item by itself, [B, T, ...]: one of READINGS or READINGS_BY_FOLD."""
        if name in batch.readings:
            return batch.readings[name].gathered()
        match name:
            case "backbone":
                return self.backbone.read_item(read_items(batch.collaborative.gathered()))
            case "short_semantic":
                return F.normalize(self.short_semantic(batch.semantic.gathered()), dim=-1)
            case "long_semantic":
                return self.long_semantic(batch.semantic.gathered())
            case "text":
                return F.normalize(batch.semantic.gathered(), dim=-1)
            case "semantic_chance":
                return self.chance["semantic"](self.reading("text", batch))
            case "co_occurrence_chance" | "company_chance":
                view = name.removesuffix("_chance")
                return self.chance[view](batch.others.gathered()[..., VIEWS.index(view), :])
            case _:
                return self.context.read_item(name, batch)

    def interests(self, batch: Batch) -> Interests:
        """Computes the interests of both modalities. With the paper's head long-term ones do not leave the item out."""
        if "backbone" in batch.readings:
            collaborative = self.backbone.read_rows(batch.readings["backbone"], batch.mask)  # [B, T, h]
        else:
            collaborative = self.backbone(read_items(batch.collaborative.gathered()), batch.mask)
        return Interests(
            collaborative,
            semantic=self.reading("short_semantic", batch),
            texts=self.reading("long_semantic", batch),
            mask=batch.mask,
            has_semantic=batch.has_semantic,
            leaves_out=self.config.head != "paper",
        )

    def similarities(self, interests: Interests, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the paper's three similarities [B, T, 3] and where they are defined, bool [B, T, 3]."""
        known = batch.has_semantic
        others = batch.mask.sum(1, keepdim=True).expand_as(known) > 1
        other_texts = (known.sum(1, keepdim=True) - known.long()) > 0
        values = torch.stack(
            [
                cosine(interests.long_semantic, interests.collaborative),
                cosine(interests.long_collaborative, interests.semantic),
                cosine(interests.collaborative, interests.semantic),
            ],
            dim=-1,
        )
        defined = torch.stack([batch.mask & other_texts, known & others, known], dim=-1)
        return values * defined, defined

    def features(self, batch: Batch, interests: Interests) -> tuple[Tensor, Tensor]:
        """Returns the agreement features [B, T, F], in the order of FEATURES, and where they are defined, bool.

        The paper's head reads the similarities alone, so that it is given no more.
        """
        if self.config.head == "paper":
            return self.similarities(interests, batch)
        parts = [
            self.similarities(interests, batch),
            self._forecasts(batch, interests),
            self.context.agreement(batch),
            *(
                sequence_agreement(view, self.reading(f"{name}_chance", batch))
                for name, view in zip(VIEWS, self.views(batch), strict=True)
            ),
        ]
        values, defined = (torch.cat(tensors, dim=-1) for tensors in zip(*parts, strict=True))
        return values, defined  # [B, T, F]

    def _forecasts(self, batch: Batch, interests: Interests) -> tuple[Tensor, Tensor]:
        """Returns the values of FORECASTS and where they are defined."""
        items, real, present = batch.collaborative.gathered(), batch.mask, batch.has_collaborative
        foreseen = self.predict(interests.collaborative)  # the next item, [B, T, d]
        expected = cosine(foreseen, items, lag=1)  # of an item by the interest before it
        expected_text = cosine(interests.collaborative, interests.semantic, lag=1)
        without = cosine(foreseen, items, lag=2)  # of the item after it
        values = torch.stack([expected, expected_text, _of_next(expected), _of_next(without)], -1)
        follows, precedes = F.pad(real[:, 1:], (1, 0)), F.pad(present[:, 1:], (0, 1))
        defined = torch.stack([follows & present, follows & batch.has_semantic, precedes, follows & precedes], -1)
        return values * defined, defined

    def views(self, batch: Batch) -> list[View]:
        """Returns the three views in which items are compared, in the order of VIEWS."""
        table, index = batch.others.table.flatten(0, 1), 2 * batch.others.index
        text = batch.readings["text"] if "text" in batch.readings else IndexedRows.of(self.reading("text", batch))
        vectors = IndexedRows(table, index), IndexedRows(table, index + 1), text
        present = *batch.has_others.unbind(-1), batch.has_semantic
        views = [View(*pair) for pair in zip(vectors, present, strict=True)]
        if batch.history is None:
            return views
        history = batch.history
        return [
            replace(view, total=total, count=count * history.longer)
            for view, total, count in zip(views, history.totals, history.counts.unbind(-1), strict=True)
        ]

    def head_logit(self, features: Tensor, defined: Tensor, length: Tensor) -> Tensor:
        """Computes the logit of the noise probability, before calibration.

        Args:
            features: [..., F], or the three similarities alone for the paper's head.
            defined: bool, likewise; where it is false, features are 0.
            length: Interactions in the whole history of each row, [...].
        """
        if self.config.head == "paper":
            return -features.sum(-1)
        first, rest = self.head[0], self.head[1:]
        assert isinstance(first, nn.Linear)
        # Features are standardised by the weights of the first layer: x / d and, where defined, -m / d.
        number = len(FEATURES)
        of_value, of_defined, of_length = first.weight.split([number, number, 1], dim=1)
        of_value = of_value / self.feature_deviation
        weight = torch.cat([of_value, of_defined - of_value * self.feature_mean, of_length], dim=1)
        length = torch.log(length.clamp(min=self.shortest_history))[..., None]
        read = torch.cat([features, defined.to(features), length], dim=-1)
        return rest(F.linear(read, weight, first.bias))[..., 0]

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Scores every position.

        Returns:
            The calibrated noise probability [B, T], the three similarities [B, T, 3] and where those are defined.
        """
        features, defined = self.features(batch, self.interests(batch))
        scale, shift = self.calibration
        probability = torch.sigmoid(self.head_logit(features, defined, batch.length) * scale + shift)
        return probability, features[..., : len(SIMILARITIES)], defined[..., : len(SIMILARITIES)]


def _of_next(values: Tensor) -> Tensor:
    """Returns what `values` [B, T] are one position later; 0 at the last."""
    return F.pad(values[:, 1:], (0, 1))
