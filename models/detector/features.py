"""Names of the features that the detector judges an interaction by. Imports nothing: all floors can read them."""

AGREEMENTS = ("mean", "maximum", "near_mean", "near_maximum", "rest", "chance_mean", "chance_deviation")
"""Similarity to the rest of the user's history, its mean, and its maximum within the window; likewise to what is near
in time; how similar the rest are among themselves; and the similarity that the item has to any interaction of the log.
Without the last three nobody can say whether a mean is low for this user and for this item."""


SIMILARITIES = ("long_term_semantic", "long_term_collaborative", "short_term")
"""The paper's three similarities: cos(S, c_t), cos(C, s_t), cos(c_t, s_t)."""


FORECASTS = ("expected", "expected_text", "next_with_item", "next_without_item")
"""How well the interest before an item foresees it, by its vector and by its text; and how well the interest foresees
the next item, having read this one and not."""


CONTEXT = "context"
"""How near the item is to what the items before and after it lead to."""


VIEWS = ("co_occurrence", "company", "semantic")
"""Items compared by which items other users have together, by the texts of those, and by their own texts."""


FEATURES = (
    *SIMILARITIES,
    *FORECASTS,
    CONTEXT,
    *(f"{view}_{name}" for view in VIEWS for name in AGREEMENTS),
)
"""What the noise head sees of an interaction, besides the log length of its history and which features are defined.
An item's popularity is deliberately not among them: it would cost the cold items."""
