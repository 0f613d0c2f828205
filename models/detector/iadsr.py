"""The IADSR model: interests of two modalities, their alignment, and the probability that an interaction is noise.

Interest Alignment for Denoising Sequential Recommendation (CIKM 2025, arXiv 2510.04239). The model reads item
vectors, never item numbers, so that it can judge items that it was not trained on, from borrowed vectors. B sequences,
T positions, d collaborative dimensions, D text-embedding dimensions, k components kept of them, h hidden.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.item_vectors import LIFE_BINS, packed_width
from ..vectors.lives import CLOCK_TICKS
from .agreement import Chance, View, cosine, sequence_agreement
from .backbones import make_backbone, read_items
from .batch import Batch, IndexedRows
from .context import Context
from .features import FEATURES, SIMILARITIES, VIEWS
from .heads import LOGITS, likely_kind, logits_of, make_head
from .interests import Interests
from .linear import Linear, linear
from .model_config import IADSRConfig
from .pretrained import Pretrained
from .projections import FoldProjections, InterestProjections, TextProjections


class Judgement(NamedTuple):
    """What the model says of B sequences of T positions."""

    probability: Tensor
    """Calibrated probabilities of noise and of a stray, [B, T, LOGITS]."""
    similarities: Tensor
    """The paper's three similarities, [B, T, 3]."""
    defined: Tensor
    """Where they are defined, bool [B, T, 3]."""
    kind: Tensor
    """Which of NOISE_KINDS it looks like, int64 [B, T], see `likely_kind`."""


class IADSR(Pretrained, nn.Module):
    """Scores how well each interaction fits its user's interests, and how probably it is noise.

    Attributes:
        config: The shape of the model.
        head: What turns features into the logit of the noise probability.
        semantic_mean: Mean text embedding of an interaction, [D].
        semantic_basis: Directions of the text embeddings that agree within users, by `fit_text_components`, [D, k].
        feature_mean: Mean of the agreement features in training, [F].
        feature_deviation: Their standard deviation, [F].
        genuine_mean: Mean of the three similarities over genuine interactions in training, [3].
        genuine_deviation: Their standard deviation, [3].
        calibration: Scale and shift of each of the head's logits, fitted on held-out users, [2, LOGITS].
        shortest_history: The head sees shorter histories as if they were this long, [1]; see
            `head_examples.shortest_history`.
        clock: Times of the log that the model was trained on, int64 [CLOCK_TICKS + 1]; see `vectors/lives.py`.
    """

    semantic_mean: Tensor
    semantic_basis: Tensor
    feature_mean: Tensor
    feature_deviation: Tensor
    genuine_mean: Tensor
    genuine_deviation: Tensor
    calibration: Tensor
    shortest_history: Tensor
    clock: Tensor

    def __init__(self, config: IADSRConfig):
        super().__init__()
        self.config = config
        d, h = config.collaborative_dimension, config.hidden_dimension
        k = min(config.semantic_components, config.semantic_dimension)
        self.backbone = make_backbone(config)
        self.predict = Linear(h, d)
        self.short_semantic = Linear(k, h, bias=False)  # W_1
        self.long_semantic = Linear(k, h, bias=False)  # W_2
        self.decode = Linear(h, d)
        self.context = Context(config, k)
        self.head = make_head(config)
        sizes = {"co_occurrence": d, "company": d, "semantic": k}
        self.chance = nn.ModuleDict({view: Chance(sizes[view]) for view in VIEWS})
        for name, start in {
            "semantic_mean": torch.zeros(config.semantic_dimension),
            "semantic_basis": torch.zeros(config.semantic_dimension, k).fill_diagonal_(1),
            "feature_mean": torch.zeros(len(FEATURES)),
            "feature_deviation": torch.ones(len(FEATURES)),
            "genuine_mean": torch.zeros(len(SIMILARITIES)),
            "genuine_deviation": torch.ones(len(SIMILARITIES)),
            "calibration": torch.tensor([[1.0] * LOGITS, [0.0] * LOGITS]),
            "shortest_history": torch.ones(1),
            "clock": torch.zeros(CLOCK_TICKS + 1, dtype=torch.int64),
        }.items():
            self.register_buffer(name, start)

    @property
    def chances(self) -> list[Chance]:
        """The similarity that chance gives in each of VIEWS."""
        return [module for module in self.chance.values() if isinstance(module, Chance)]

    @property
    def packed_width(self) -> int:
        """Length of an item's row of `PackedItemVectors`."""
        folds = self.config.folds if self.head.reads_other_users else 0
        return packed_width(self.config.collaborative_dimension, folds)

    def reduce_semantic(self, vectors: Tensor) -> Tensor:
        """Maps raw text embeddings [n, D] to the components that the model works with, [n, k]."""
        return linear(vectors - self.semantic_mean, self.semantic_basis.T)

    def project_interests(self, batch: Batch) -> InterestProjections:
        """Computes what interests need of each item of a batch, each [B, T, ...]."""
        return InterestProjections(
            backbone=self.backbone.read_item(read_items(batch.collaborative.gathered())),
            short_semantic=self._short_semantic(batch),
            long_semantic=self._long_semantic(batch),
        )

    def project_texts(self, batch: Batch) -> TextProjections:
        """Computes what the agreement features need of each item's text, each [B, T, ...]."""
        unit = _unit_text(batch)
        return TextProjections(unit, self.chance["semantic"](unit), self.context.project_text(unit))

    def project_folds(self, batch: Batch) -> FoldProjections:
        """Computes what the agreement features need of each item in its fold, each [B, T, ...]."""
        items = self.context.items(batch)
        return FoldProjections(
            co_occurrence_chance=self.chance["co_occurrence"](batch.co_occurrence.gathered()),
            company_chance=self.chance["company"](batch.company.gathered()),
            context_item=items,
            context_gates=self.context.project_gates(items),
        )

    def interests(self, batch: Batch) -> Interests:
        """Computes the interests of both modalities."""
        projected = batch.interest_projections
        if projected is None:
            collaborative = self.backbone(read_items(batch.collaborative.gathered()), batch.mask)  # [B, T, h]
            semantic, texts = self._short_semantic(batch), self._long_semantic(batch)
        else:
            collaborative = self.backbone.read_rows(batch.collaborative.in_table(projected.backbone), batch.mask)
            semantic = batch.semantic.in_table(projected.short_semantic).gathered()
            texts = batch.semantic.in_table(projected.long_semantic).gathered()
        return Interests(collaborative, semantic, texts, batch.mask, batch.has_semantic, self.head.leaves_item_out)

    def _short_semantic(self, batch: Batch) -> Tensor:
        return F.normalize(self.short_semantic(batch.semantic.gathered()), dim=-1)

    def _long_semantic(self, batch: Batch) -> Tensor:
        return self.long_semantic(batch.semantic.gathered())

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
        """Returns the features that the head reads, [B, T, F], 0 where not defined; and where they are, bool."""
        return self.head.features(self, batch, interests)

    def forecasts(self, batch: Batch, interests: Interests) -> tuple[Tensor, Tensor]:
        """Returns the values of FORECASTS, [B, T, 4], and where they are defined, bool [B, T, 4]."""
        items, real, present = batch.collaborative.gathered(), batch.mask, batch.has_collaborative
        foreseen = self.predict(interests.collaborative)  # the next item, [B, T, d]
        expected = cosine(foreseen, items, lag=1)  # of an item by the interest before it
        expected_text = cosine(interests.collaborative, interests.semantic, lag=1)
        without = cosine(foreseen, items, lag=2)  # of the item after it
        values = torch.stack([expected, expected_text, _of_next(expected), _of_next(without)], -1)
        follows, precedes = F.pad(real[:, 1:], (1, 0)), F.pad(present[:, 1:], (0, 1))
        defined = torch.stack([follows & present, follows & batch.has_semantic, precedes, follows & precedes], -1)
        return values * defined, defined

    def activity(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the value of ACTIVITY, [B, T, 1], and where it is defined, bool [B, T, 1]."""
        defined = batch.has_life & ~batch.moments.isnan()
        place = (batch.moments.nan_to_num() * LIFE_BINS - 0.5).clamp(0, LIFE_BINS - 1)
        low = place.long().clamp(max=LIFE_BINS - 2)
        # Only the two points beside the moment are read.
        points = batch.lives.table.view(-1)
        start = batch.lives.index * LIFE_BINS + low
        before, after = points[start], points[start + 1]
        # What many chose at that time is no better evidence than what some did: a trend may be none of the user's.
        values = (before + (after - before) * (place - low)).clamp(max=0)
        return (values * defined)[..., None], defined[..., None]

    def view_agreements(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Returns for each of VIEWS the values of AGREEMENTS, [B, T, 8], and where they are defined, bool [B, T, 8]."""
        texts, folds = batch.text_projections, batch.fold_projections
        views = self.views(batch)
        if texts is None or folds is None:
            chances = [
                self.chance["co_occurrence"](batch.co_occurrence.gathered()),
                self.chance["company"](batch.company.gathered()),
                self.chance["semantic"](_unit_text(batch)),
            ]
        else:
            chances = [
                batch.co_occurrence.in_table(folds.co_occurrence_chance).gathered(),
                batch.company.in_table(folds.company_chance).gathered(),
                batch.semantic.in_table(texts.chance).gathered(),
            ]
        return [sequence_agreement(view, chance) for view, chance in zip(views, chances, strict=True)]

    def views(self, batch: Batch) -> list[View]:
        """Returns the three views in which items are compared, in the order of VIEWS."""
        if batch.text_projections is None:
            text = IndexedRows.of(_unit_text(batch))
        else:
            text = batch.semantic.in_table(batch.text_projections.unit)
        views = [
            View(batch.co_occurrence, batch.has_co_occurrence),
            View(batch.company, batch.has_company),
            View(text, batch.has_semantic),
        ]
        if batch.history is None:
            return views
        history = batch.history
        return [
            replace(view, total=total, count=count * history.longer)
            for view, total, count in zip(views, history.totals, history.counts.unbind(-1), strict=True)
        ]

    def head_logit(self, features: Tensor, defined: Tensor, length: Tensor) -> Tensor:
        """Computes the head's logits, before calibration, [..., LOGITS].

        Args:
            features: What `features` returned, [..., F].
            defined: bool [..., F].
            length: Interactions in the whole history of each row, [...].
        """
        return logits_of(self._expected_kinds(features, defined, length))

    def head_kinds(self, features: Tensor, defined: Tensor, length: Tensor) -> Tensor:
        """Computes the log odds of each of NOISE_KINDS, [..., K], see `Head.kinds`. Arguments as above."""
        shown = length.clamp(min=self.shortest_history)
        return self.head.kinds(features, defined, shown, self.feature_mean, self.feature_deviation)

    def _expected_kinds(self, features: Tensor, defined: Tensor, length: Tensor) -> Tensor:
        """Computes the log odds of the kinds, as frequent as they are expected in a log, [..., K]."""
        kinds = self.head_kinds(features, defined, length)
        # The score of a head that learned nothing from inserted noise depends on no kind.
        return kinds + self.head.kind_shift if self.head.trains else kinds

    def forward(self, batch: Batch) -> Judgement:
        """Scores every position."""
        features, defined = self.features(batch, self.interests(batch))
        scale, shift = self.calibration
        kinds = self._expected_kinds(features, defined, batch.length)
        similarities = slice(len(SIMILARITIES))
        return Judgement(
            torch.sigmoid(logits_of(kinds) * scale + shift),
            features[..., similarities],
            defined[..., similarities],
            likely_kind(kinds),
        )


def _unit_text(batch: Batch) -> Tensor:
    """Returns the text components of unit length, [B, T, k]."""
    return F.normalize(batch.semantic.gathered(), dim=-1)


def _of_next(values: Tensor) -> Tensor:
    """Returns what `values` [B, T] are one position later; 0 at the last."""
    return F.pad(values[:, 1:], (0, 1))
