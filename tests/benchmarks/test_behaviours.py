import numpy as np
import pyarrow as pa

from benchmarks.behaviours import DIMENSION, ORDER, STRAYS, make_funnel


def test_a_funnel_narrows_and_strays_hardly_get_beyond_a_view():
    funnel = make_funnel(users=200, items=300, seed=1)
    event, stray = (funnel.table[name].to_numpy() for name in ("event", "stray"))
    view, cart, buy = ((event == name) for name in ORDER)
    assert view.sum() > cart.sum() > buy.sum() > 0
    assert 0.4 * STRAYS < stray[view].mean() < STRAYS
    assert stray[cart].mean() < 0.2 * stray[view].mean()
    assert funnel.semantic.shape == (300, DIMENSION)
    assert make_funnel(200, 300, 1).table.equals(funnel.table)


def test_carts_come_after_all_views_of_their_journey_and_purchases_after_carts():
    table = make_funnel(users=100, items=300, seed=2).table
    first = {name: table.filter(pa.array(table["event"].to_numpy() == name)) for name in ORDER}
    pairs = {
        name: dict(
            zip(
                zip(part["user_id"].to_pylist(), part["item_id"].to_pylist(), strict=True),
                part["timestamp"].to_pylist(),
                strict=True,
            )
        )
        for name, part in first.items()
    }
    assert set(pairs["buy"]) <= set(pairs["cart"]) <= set(pairs["view"])
    later = [pairs["buy"][pair] > pairs["cart"][pair] for pair in pairs["buy"]]
    assert np.mean(later) > 0.9  # a few pairs have two journeys
