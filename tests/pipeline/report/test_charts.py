import re

import matplotlib as mpl
import pytest

from iadsr.pipeline.report.charts import compact, drop_rate_chart, needs_log_scale, noise_probability_chart

EDGES = [0.0, 0.25, 0.5, 0.75, 1.0]


def bars(svg: str, variable: str) -> int:
    return len(re.findall(rf"clip-path[^>]*fill: var\(--{variable}\)", svg))


def test_each_bin_that_holds_something_is_drawn_in_its_colour():
    svg = noise_probability_chart(EDGES, [90, 40, 3, 0], [0, 0, 20, 7], 0.5, "words")
    assert (bars(svg, "kept"), bars(svg, "dropped")) == (3, 2)
    assert ">threshold 0.5<" in svg
    assert ">interactions<" in svg


def test_counts_far_apart_take_a_logarithmic_axis():
    svg = noise_probability_chart(EDGES, [100_000, 40, 3, 1], [0] * 4, 0.5, "words")
    assert ">interactions, log scale<" in svg
    assert re.findall(r">(1|10|100|1k|10k|100k)</text>", svg) == ["1", "10", "100", "1k", "10k", "100k"]
    # From the foot of the axis upwards: a bar of one interaction is visible.
    heights = []
    for path in re.findall(r'<path d="([^"]+)" clip-path[^>]*fill: var\(--kept\)', svg):
        ys = [float(y) for y in re.findall(r"[ML] [\d.]+ ([\d.]+)", path)]
        heights.append(max(ys) - min(ys))
    assert len(heights) == 4
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] > 3


@pytest.mark.parametrize("threshold", [None, 1.5, float("inf")])
def test_a_threshold_that_nothing_reaches_is_not_drawn(threshold):
    assert "threshold" not in noise_probability_chart(EDGES, [1, 2, 3, 4], [0] * 4, threshold, "words")


def test_the_share_of_genuine_interactions_stands_beside_that_of_all():
    svg = drop_rate_chart(["1-5", "6+"], [0.25, 0.1], [0.034, None], 0.2, "words")
    assert ">25.0<" in svg
    assert ">3.4<" in svg


def test_the_colours_are_those_of_the_page_and_none_is_fixed():
    svg = drop_rate_chart(["1-5", "6+"], [0.25, None], [None, None], 0.2, "words")
    assert not re.search(r"#[0-9a-f]{6}", svg)
    assert ">25.0%<" in svg
    assert ">none<" in svg


def test_a_matplotlib_style_of_the_machine_changes_nothing():
    expected = drop_rate_chart(["1-5", "6+"], [0.25, 0.5], [0.1, 0.1], 0.3, "words")
    with mpl.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red", "axes.grid": True}):
        assert drop_rate_chart(["1-5", "6+"], [0.25, 0.5], [0.1, 0.1], 0.3, "words") == expected


def test_the_description_is_escaped():
    assert "a &lt;b&gt;</desc>" in drop_rate_chart(["<i>"], [0.5], [None], 0.5, "a <b>")


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (1_500, "1.5k"), (20_000, "20k"), (3_000_000, "3M"), (2e9, "2G")]
)
def test_axis_values_are_short(value, text):
    assert compact(value) == text


@pytest.mark.parametrize(("counts", "log"), [([], False), ([0, 0], False), ([5, 0, 500], False), ([5, 501], True)])
def test_log_scale_only_where_bars_would_vanish(counts, log):
    assert needs_log_scale(counts) is log
