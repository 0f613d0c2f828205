"""Names of the features that the detector judges an interaction by. Imports nothing, so that all floors can read it."""

AGREEMENTS = ("mean", "maximum", "near_mean", "near_maximum", "rest", "away", "chance_mean", "chance_deviation")
"""How similar an item is to other items, in one view:

- to the rest of the user's history: the mean, and the maximum within the window;
- to the items near in time: the mean and the maximum;
- how similar the rest of the history is among itself;
- to the history that is not near in time: the mean. There, items of a run from somebody else do not vouch for each
  other;
- to a random interaction of the log: mean and standard deviation.

The rest among itself and chance tell whether a mean is low for this user and for this item."""

SIMILARITIES = ("long_term_semantic", "long_term_collaborative", "short_term")
"""The paper's three similarities: cos(S, c_t), cos(C, s_t), cos(c_t, s_t)."""

KIND_SIGNS = ("run", "text", "block")
"""Kinds of noise that an interaction can look like, besides a single item that fits nothing."""

SIGNS = (*SIMILARITIES, *KIND_SIGNS)
"""What names an interaction that is judged noise: the similarity that is lowest, or the kind that it looks like."""

FORECASTS = ("expected", "expected_text", "next_with_item", "next_without_item")
"""How well the interest before an item foresees the item, by its vector and by its text; and how well the interest
foresees the next item, with this item read and without."""

CONTEXT = "context"
"""How near the item is to its context: what the items before and after it lead to."""

ACTIVITY = "activity"
"""How much less often others chose the item at that time than at other times; 0 if it was not less often."""

VIEWS = ("co_occurrence", "company", "semantic")
"""The ways to compare items: by which items other users have together, by the texts of those items, and by the items'
own texts."""

NEIGHBOURHOOD = (
    CONTEXT,
    "expected",
    *(f"{view}_{name}" for name in ("mean", "away", "chance_mean") for view in VIEWS),
)
"""Features whose means over the items near in time are read too. Noise often comes in blocks: an item among items that
do not fit is itself more probably noise."""

FEATURES = (
    *SIMILARITIES,
    *FORECASTS,
    CONTEXT,
    ACTIVITY,
    *(f"{view}_{name}" for view in VIEWS for name in AGREEMENTS),
    *(f"neighbours_{name}" for name in NEIGHBOURHOOD),
)
"""What the noise head sees of an interaction, besides the logarithm of its history's length and which features are
defined. An item's popularity is left out on purpose: with it, the head would call rare items noise."""
