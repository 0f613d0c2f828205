"""The report's charts: inline SVG made with matplotlib, without pyplot's global figures.

This module imports matplotlib, which takes a moment, so the report imports it only when it draws. The same numbers give
the same bytes. An SVG takes its colours from the page's CSS variables (light, dark and print). It has a title and a
description for readers who cannot see it.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

# matplotlib wants colours, and the page wants variables. `_embed` replaces each of these colours by a variable.
INK, MUTED, RULE, KEPT, DROPPED = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"

_VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", KEPT: "--kept", DROPPED: "--dropped"}

_SIZE = (5.4, 3.0)  # inches of 72 units; about the width of a phone, where the text must be readable

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "iadsr",
    "text.parse_math": False,
    "font.size": 10,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "ytick.left": False,
    "patch.linewidth": 0,
}

# If the tallest bar is larger than the shortest by more than this factor, the shortest vanishes on a linear axis.
_LOG_RATIO = 100

# Bars on a logarithmic axis start here, so that a bar of one interaction has a height.
_LOG_FOOT = 0.5

_DASHES = (0, (4, 2))


def noise_probability_chart(
    edges: Sequence[float], kept: Sequence[int], dropped: Sequence[int], threshold: float | None, description: str
) -> Markup:
    """Draws a histogram of noise probabilities, kept beside dropped interactions, with the threshold.

    Args:
        edges: Bin edges, one more than bins, ascending.
        kept: Kept interactions per bin.
        dropped: Dropped interactions per bin.
        threshold: The threshold applied. It is not drawn if it is None or outside the bins.
        description: The chart in words.
    """

    def plot(axes: Axes) -> None:
        log = needs_log_scale([*kept, *dropped])
        foot = _LOG_FOOT if log else 0
        # A bin with both has its bars side by side: stacked bars cannot be read on a logarithmic axis.
        left, width = np.asarray(edges[:-1]), np.diff(edges)
        heights = {KEPT: np.asarray(kept), DROPPED: np.asarray(dropped)}
        share = 0.92 * width / np.where((heights[KEPT] > 0) & (heights[DROPPED] > 0), 2, 1)
        starts = {KEPT: left, DROPPED: left + 0.92 * width - share}
        for colour, height in heights.items():
            bins = height > 0
            axes.bar(starts[colour][bins], height[bins] - foot, share[bins], foot, align="edge", color=colour)
        _count_axis(axes, log=log)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("noise probability")
        axes.set_ylabel("interactions, log scale" if log else "interactions")
        if threshold is not None and edges[0] <= threshold <= edges[-1]:
            axes.axvline(threshold, color=INK, linewidth=1.2, linestyle=_DASHES)
            right_half = threshold > (edges[0] + edges[-1]) / 2
            axes.annotate(
                f"threshold {threshold:.3g}",
                (threshold, 1),
                xycoords=("data", "axes fraction"),
                xytext=(-5 if right_half else 5, 4),
                textcoords="offset points",
                ha="right" if right_half else "left",
                va="bottom",
                fontsize=9.5,
            )

    empty = not any([*kept, *dropped])
    return _draw("noise-probability", "Noise probability of all interactions", description, plot, empty=empty)


def drop_rate_chart(
    labels: Sequence[str],
    rates: Sequence[float | None],
    genuine: Sequence[float | None],
    overall: float | None,
    description: str,
) -> Markup:
    """Draws the share of interactions dropped in each popularity bucket: of all interactions and of genuine ones.

    Args:
        labels: Name of each bucket.
        rates: Share of all interactions dropped, in [0, 1]; None for a bucket without interactions.
        genuine: Share of genuine interactions dropped, in [0, 1]; None if it is not known.
        overall: Share of the whole log dropped, drawn as a line; None if the log has no interactions.
        description: The chart in words.
    """

    def plot(axes: Axes) -> None:
        places = range(len(labels))
        pair = any(share is not None for share in genuine)
        width, aside = (0.4, 0.21) if pair else (0.62, 0)
        axes.bar([place - aside for place in places], [rate or 0 for rate in rates], width, color=DROPPED)
        highest = max([rate or 0 for rate in rates] + [overall or 0, 0.001])
        bars = [(place - aside, rate) for place, rate in zip(places, rates, strict=True)]
        if pair:
            shares = [share or 0 for share in genuine]
            axes.bar([place + aside for place in places], shares, width, color=RULE, edgecolor=MUTED, lw=0.8)
            highest = max(highest, *shares)
            bars += [(place + aside, share) for place, share in zip(places, genuine, strict=True) if share is not None]
        for place, rate in bars:
            text = "none" if rate is None else f"{100 * rate:.1f}" if pair else f"{rate:.1%}"
            axes.annotate(text, (place, rate or 0), (0, 3), textcoords="offset points", ha="center", fontsize=9)
        if overall is not None:
            axes.axhline(overall, color=INK, linewidth=1.2, linestyle=_DASHES)
        axes.set_xlim(-0.6, len(labels) - 0.4)
        axes.set_ylim(0, highest * 1.15)
        axes.set_xticks(places, labels)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))
        axes.set_xlabel("times an item occurs in the log")
        axes.set_ylabel("interactions dropped")

    return _draw("popularity", "Drop rate by item popularity", description, plot, empty=overall is None)


def needs_log_scale(counts: Sequence[int]) -> bool:
    """Returns whether the smallest bars would vanish beside the largest on a linear axis."""
    present = [count for count in counts if count]
    return bool(present) and max(present) > _LOG_RATIO * min(present)


def compact(value: float) -> str:
    """Writes an axis value short: 950, 1.5k, 20k, 3M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _count_axis(axes: Axes, *, log: bool) -> None:
    if log:
        axes.set_yscale("log")
        top = axes.get_ylim()[1]
        axes.set_ylim(_LOG_FOOT, top)
        axes.yaxis.set_major_locator(FixedLocator([10.0**power for power in range(13) if 10.0**power <= top]))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))


def _draw(name: str, title: str, description: str, plot: Callable[[Axes], None], *, empty: bool) -> Markup:
    # A matplotlibrc on the machine must not change the report, so the default style comes first.
    with style.context("default"), mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        if empty:
            axes.set_xticks([])
            axes.set_yticks([])
            axes.text(0.5, 0.5, "no interactions", transform=axes.transAxes, ha="center", color=MUTED)
        else:
            plot(axes)
        buffer = io.StringIO()
        # No date, and no creator either: its version would be in the bytes.
        metadata: Mapping[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.print_svg(buffer, metadata=metadata)
    return _embed(buffer.getvalue(), name, title, description)


def _embed(svg: str, name: str, title: str, description: str) -> Markup:
    """Turns an SVG document into an element of the page, with ids of its own and the page's colours and font."""
    opening = re.search(r"<svg\b[^>]*>", svg)
    view_box = re.search(r'viewBox="([^"]+)"', svg)
    if opening is None or view_box is None:
        raise RuntimeError("matplotlib wrote no SVG")
    body = svg[opening.end() :]
    body = re.sub(r"<style\b.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    # Several charts share the page, so their ids must differ.
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\n\s*", "\n", body)
    head = Markup(
        '<svg class="chart" viewBox="{box}" role="img" aria-labelledby="{name}-title {name}-desc">'
        '<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>'
    ).format(box=view_box[1], name=name, title=title, description=escape(description))
    return head + Markup(body.strip())
