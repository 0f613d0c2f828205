import copy
import dataclasses
import html as markup
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.reasons import REASON_BY_CODE, reason_codes
from iadsr.pipeline.report.render import (
    MAX_SHOWN_FILES,
    MAX_SHOWN_INTERACTIONS,
    describe_policy,
    read_unix_time,
    render_report,
)
from iadsr.transforms.run.manifest import AppliedPolicy, Manifest

EDGES = [round(edge / 50, 2) for edge in range(51)]

VALUES = {
    "format_version": 1,
    "run": "0123",
    "iadsr_version": "0.1.0",
    "started_at": "2026-11-23T14:10:00+00:00",
    "finished_at": "2026-11-23T14:12:05.250000+00:00",
    "durations_seconds": {"total": 125.25, "score": 80.5},
    "rows": {"read": 1_234_579, "kept": 1_200_000, "dropped": 34_567, "rejected": 12},
    "files": [
        {
            "path": "log/part-0.parquet",
            "read": 1_234_579,
            "kept": 1_200_000,
            "dropped": 34_567,
            "rejected": 12,
            "unreadable": 0,
            "bytes": 9_876_543,
            "changed_at": 1_795_827_751.5,
            "partitions": {},
        }
    ],
    "tables": [],
    "notes": [],
    "directory": None,
    "skipped_files": [],
    "outputs": [],
    "users": {"total": 22_363, "shortened": 9_876, "emptied": 3, "lookalikes": 0},
    "items": {"total": 12_101, "without_text": 17, "unknown": 5, "borrowed": 29},
    "reasons": {
        "dropped": {"noise:long_term_semantic": 20_000, "noise:short_term": 14_567, "noise:collaborative_only": 0},
        "kept": {"min_length": 41, "keep_last": 0, "unknown_item": 6},
        "rejected": {"null user_id": 12},
    },
    "policy": {
        "rule": "threshold",
        "drop_rate": None,
        "threshold": 0.5,
        "weight_strength": 4.0,
        "min_weight": 0.0,
        "min_length": 5,
        "keep_last": 1,
    },
    "noise_probability_histogram": {
        "edges": EDGES,
        "kept": [1_199_950, *[0] * 29, 50, *[0] * 19],
        "dropped": [*[0] * 30, 34_567, *[0] * 19],
    },
    "popularity_buckets": [
        {
            "label": "1-5",
            "min_count": 1,
            "max_count": 5,
            "items": 0,
            "interactions": 0,
            "dropped": 0,
            "drop_rate": None,
            "expected_genuine_drop_rate": None,
        },
        {
            "label": "6-20",
            "min_count": 6,
            "max_count": 20,
            "items": 8_000,
            "interactions": 34_567,
            "dropped": 4_567,
            "drop_rate": 0.1321,
            "expected_genuine_drop_rate": 0.06,
        },
        {
            "label": "21-900",
            "min_count": 21,
            "max_count": 900,
            "items": 4_101,
            "interactions": 1_200_000,
            "dropped": 30_000,
            "drop_rate": 0.025,
            "expected_genuine_drop_rate": 0.01,
        },
    ],
    "noise_share": {"estimate": 0.0412, "lower": 0.03, "upper": 0.05, "unknown_because": None, "among_dropped": 0.7449},
    "sequence_lengths": {"labels": ["0", "1", "2", "3-4"], "before": [0, 3, 10, 22_350], "after": [3, 0, 20, 22_340]},
    "times": {"first": "1", "last": "9", "unit": None, "resolution_seconds": None, "notes": []},
    "rules": [
        {"rule": "duplicate", "parameters": {}, "drops": True, "interactions": 0, "users": 0},
    ],
    "model": {
        "path": "models/beauty",
        "fingerprint": "ab" * 32,
        "backbone": "sasrec",
        "metrics": {"users": 22_363, "held_out": {"auroc": 0.8412345}},
    },
    "embeddings": {
        "path": "vectors",
        "kind": "semantic",
        "encoder": "minilm",
        "revision": "0.1.0",
        "pooling": "mean",
        "dimension": 384,
        "text_columns": ["title"],
        "fingerprint": "cd" * 32,
    },
    "options": {"threshold": 0.5, "seed": 20261123, "drop_rate": None, "beam": ["--runner=DirectRunner"]},
    "versions": {"python": "3.11.7", "apache-beam": "2.77.0"},
}
MANIFEST = Manifest.from_json(json.dumps(VALUES))


def interaction(keep: bool = True, reason: str | None = None, probability: float = 0.1, **changes) -> dict:
    return {
        "item_id": "242",
        "text": "Kolya (1996), Comedy",
        "timestamp": "1997-12-04 15:55:49",
        "keep": keep,
        "reason": reason,
        "noise_probability": probability,
        **changes,
    }


EXAMPLES = [
    {
        "user_id": "196",
        "interactions": [
            *[interaction(item_id=f"early-{n}") for n in range(8)],
            interaction(False, "noise:short_term", 0.8734, item_id="302", text="L.A. Confidential (1997), Crime"),
            interaction(True, "keep_last", 0.6, item_id="last"),
            interaction(True, "unknown_item", 0.0, item_id="stranger", text=None),
        ],
    }
]


class Page(HTMLParser):
    """Collects what a reader sees, each element with its tag, attributes and text."""

    APART = ("td", "th", "dt", "dd", "h3", "time", "span")  # set apart by layout, not by a space
    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self.ids: list[str] = []
        self._open: list[dict] = []
        self.feed(html)
        self.close()
        assert not self._open, [element["tag"] for element in self._open]

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attributes": dict(attrs), "text": ""}
        self.elements.append(element)
        if "id" in element["attributes"]:
            self.ids.append(element["attributes"]["id"])
        if tag not in self.VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1]["tag"] == tag, f"</{tag}> closes <{self._open[-1]['tag']}>"
        self._open.pop()
        if tag in self.APART:
            self.handle_data(" ")

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag: str, css_class: str | None = None) -> list[dict]:
        return [
            element
            for element in self.elements
            if element["tag"] == tag
            and (css_class is None or css_class in (element["attributes"].get("class") or "").split())
        ]

    def texts(self, tag: str, css_class: str | None = None) -> list[str]:
        return [" ".join(element["text"].split()) for element in self.all(tag, css_class)]


def changed(**changes) -> Manifest:
    values = copy.deepcopy(VALUES)
    for key, value in changes.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    return Manifest.from_json(json.dumps(values))


def empty_manifest() -> Manifest:
    return changed(
        rows={"read": 0, "kept": 0, "dropped": 0, "rejected": 0},
        files=[],
        users={"total": 0, "shortened": 0, "emptied": 0, "lookalikes": 0},
        reasons={"dropped": {}, "kept": {}, "rejected": {}},
        noise_probability_histogram={"kept": [0] * 50, "dropped": [0] * 50},
        popularity_buckets=[],
        sequence_lengths={"labels": ["0"], "before": [0], "after": [0]},
    )


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_report(MANIFEST, EXAMPLES))


def test_the_headline_gives_the_counts_and_the_share(page):
    assert page.texts("p", "headline") == ["34,567 of 1,234,567 interactions dropped, 2.8%"]
    assert page.texts("p", "lead") == [
        "9,876 of 22,363 users shortened, 3 of them to nothing. 12 rows rejected as unusable."
    ]
    assert page.texts("title")[0] == "Cleaning report: 34,567 of 1,234,567 interactions dropped"
    assert page.texts("dl", "ledger") == ["rows read 1,234,579 = kept 1,200,000 + dropped 34,567 + rejected 12"]


def test_each_reason_that_occurred_is_counted_and_explained(page):
    rows = page.texts("tr")
    assert any(re.match(r"noise:long_term_semantic 20,000 57.86% What the user did", row) for row in rows)
    assert any(re.match(r"noise:short_term 14,567 42.14% The item's text", row) for row in rows)
    assert any(re.match(r"min_length 41 <0.01% Judged noise, but", row) for row in rows)
    assert any(re.match(r"no reason 1,199,953 >99.99% Judged genuine", row) for row in rows)
    assert "null user_id 12 100%" in rows
    assert not any(row.startswith(("noise:collaborative_only", "keep_last")) for row in rows)


def test_every_reason_that_the_policy_gives_has_an_explanation():
    dropped, kept = dict.fromkeys(reason_codes("dropped"), 7), dict.fromkeys(reason_codes("kept"), 7)
    interactions = [interaction(reason in kept, reason, 0.7) for reason in (*dropped, *kept)]
    manifest = changed(reasons={"dropped": dropped, "kept": kept})
    page = Page(render_report(manifest, [{"user_id": "1", "interactions": interactions}]))
    for reason in (*dropped, *kept):
        (row,) = [row for row in page.texts("tr") if row.startswith(f"{reason} 7 ")]
        assert len(row) > len(reason) + 40
    badges = page.texts("span", "badge")
    assert len(set(badges)) == len(dropped) + len(kept)
    assert not set(badges) & set(kept)


def test_tables_below_the_charts_hold_their_numbers(page):
    rows = page.texts("tr")
    assert "6-20 8,000 34,567 4,567 13.21% 6%" in rows
    assert "1-5 0 0 0 \u2013 \u2013" in rows
    assert "3\u20134 22,350 22,340" in rows
    assert "0 to 0.02 1,199,950 0" in rows
    assert "0.6 to 0.62 50 34,567" in rows
    assert page.texts("figcaption")[1] == (
        "all items 2.8% of all interactions of genuine ones, expected Genuine interactions with rare items were "
        "dropped more often than with popular ones, as far as their noise probabilities tell: "
        "6% for items seen 6\u201320 times, 1% for those seen 21\u2013900 times."
    )


def test_the_share_of_noise_stands_at_the_top_with_its_interval(page):
    assert (
        "Noise in this log. Of the interactions that could be judged, 4.12% are estimated to be noise "
        "(95% interval 3% to 5%). Of those dropped, 74% are expected to be noise."
    ) in page.texts("p", "rule")
    unknown = {
        "estimate": None,
        "lower": None,
        "upper": None,
        "unknown_because": "too few users",
        "among_dropped": None,
    }
    assert "The log's share of noise is not known: too few users." in markup.unescape(
        render_report(changed(noise_share=unknown), [])
    )


def test_the_histogram_says_what_its_odd_bars_are(page):
    caption = (
        "kept dropped Interactions per bin, on a logarithmic scale. Kept ones right of the threshold are protected. "
        "Those not judged count as 0."
    )
    assert page.texts("figcaption")[0] == caption


def test_charts_are_described_and_their_ids_are_unique(page):
    charts = page.all("svg", "chart")
    assert len(charts) == 2
    for chart in charts:
        assert chart["attributes"]["role"] == "img"
        title, description = chart["attributes"]["aria-labelledby"].split()
        texts = {element["attributes"].get("id"): element["text"] for element in page.elements}
        assert texts[title]
        assert texts[description]
    assert "1-5 times: \u2013; 6-20 times: 13.21%; 21-900 times: 2.5%" in page.texts("desc")[1]
    assert "threshold 0.5" in page.texts("text")
    assert len(page.ids) == len(set(page.ids))
    for element in page.elements:
        for value in element["attributes"].values():
            for target in re.findall(r"^#(.+)|url\(#([^)]+)\)", value or ""):
                assert (target[0] or target[1]) in page.ids


def test_an_example_marks_what_was_dropped_and_why(page):
    assert page.texts("li", "dropped") == [
        "1997-12-04 15:55:49 L.A. Confidential (1997), Crime 302 dropped: short_term 0.873"
    ]
    assert page.texts("del") == ["L.A. Confidential (1997), Crime"]
    assert page.texts("li", "protected") == [
        "1997-12-04 15:55:49 Kolya (1996), Comedy last protected by --keep-last 0.600"
    ]
    assert page.texts("li", "noted") == ["1997-12-04 15:55:49 no text stranger not judged: unknown item \u2013"]
    assert "User 196 11 interactions, 1 dropped, 2 kept with a reason" in page.texts("h3")
    assert page.texts("bdi", "id") == [
        *[f"early-{n}" for n in range(8)],
        "302",
        "last",
        "stranger",
    ]  # in time order, folded or not
    assert "6 more kept" in page.texts("summary")


def test_the_report_says_that_a_reason_names_the_kind_of_noise_before_a_similarity(page):
    assert any("names the kind of noise that it looks like: a run, a text or a block." in p for p in page.texts("p"))


def test_a_probability_just_below_the_threshold_does_not_read_as_reaching_it():
    examples = [{"user_id": "1", "interactions": [interaction(probability=0.4994)]}]
    assert Page(render_report(MANIFEST, examples)).texts("li", "kept")[0].endswith("0.499")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("892001374", "1998-04-08 02:09:34"),
        ("892001374000", "1998-04-08 02:09:34"),
        ("892001374123456", "1998-04-08 02:09:34"),
        ("892001374123456789", "1998-04-08 02:09:34"),
        ("17", None),  # a counter
        ("20260131120000", None),  # a date written as a number
        ("-892001374", None),
        ("1997-12-04 15:55:49", None),
    ],
)
def test_integer_times_are_read_where_they_can_be_unix_times(text, read):
    assert read_unix_time(text) == read


def test_a_unix_time_is_shown_as_a_date_that_keeps_its_integer():
    page = Page(render_report(MANIFEST, [{"user_id": "1", "interactions": [interaction(timestamp="892001374")]}]))
    (time,) = page.all("time")
    assert time["text"].strip() == "1998-04-08 02:09:34"
    assert time["attributes"]["title"] == "892001374"
    assert any(text.endswith("read here as Unix times (UTC).") for text in page.texts("p"))


def test_long_sequences_and_long_file_lists_are_cut_and_say_so():
    examples = [{"user_id": "1", "interactions": [interaction()] * (MAX_SHOWN_INTERACTIONS + 1234)}]
    manifest = changed(files=[{**VALUES["files"][0], "path": f"{n}.parquet"} for n in range(2_000)])
    page = Page(render_report(manifest, examples))
    assert len(page.all("li")) == MAX_SHOWN_INTERACTIONS
    assert "1,234 later interactions not shown here." in page.texts("p", "note")
    assert f"And {2_000 - MAX_SHOWN_FILES:,} more files: see manifest.json." in page.texts("p", "note")


def test_provenance_gives_figures_for_reading_and_options_exactly(page):
    lists = page.texts("section", "pairs")
    assert (
        lists[0]
        == f"Model path models/beauty fingerprint {'ab' * 32} backbone sasrec users 22,363 held_out.auroc 0.8412"
    )
    assert 'Options threshold 0.5 seed 20261123 drop_rate not set beam ["--runner=DirectRunner"]' in lists
    assert "Versions apache-beam 2.77.0 python 3.11.7" in lists
    assert "log/part-0.parquet 1,234,579 1,234,567 12" in page.texts("tr")
    assert "2026-11-23 14:12:05 UTC · took 2 min 05 s · iadsr 0.1.0" in page.texts("span", "muted")


def test_rows_that_do_not_add_up_are_not_passed_over():
    assert "do not add up" in render_report(changed(rows={"kept": 1_199_999}), EXAMPLES)
    assert "do not add up" not in render_report(MANIFEST, EXAMPLES)


def test_the_same_input_gives_the_same_bytes_in_another_process(tmp_path):
    path = tmp_path / "input.json"
    path.write_text(json.dumps([VALUES, EXAMPLES]), encoding="utf-8")
    program = (
        "import json, sys; from iadsr.pipeline.report.render import render_report; "
        "assert 'matplotlib' not in sys.modules; from iadsr.transforms.run.manifest import Manifest; "
        "values, examples = json.load(open(sys.argv[1], encoding='utf-8')); "
        "manifest = Manifest.from_json(json.dumps(values)); "
        "sys.stdout.buffer.write(render_report(manifest, examples).encode()); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    other = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, check=True)
    assert other.stdout == render_report(MANIFEST, EXAMPLES).encode()


def test_the_page_asks_for_nothing_and_runs_nothing(page):
    assert not {element["tag"] for element in page.elements} & {"script", "link", "img", "iframe", "object", "base"}
    policy = next(e for e in page.all("meta") if e["attributes"].get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy["attributes"]["content"]
    for element in page.elements:
        for name, value in element["attributes"].items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert value.startswith("#")
    assert not re.search(r"@import|url\((?!#)", page.all("style")[0]["text"])


ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}",
    "&lt;",
    "$\\frac{$",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_from_the_data_stays_text_wherever_it_stands(attack):
    manifest = changed(
        files=[{**VALUES["files"][0], "path": attack}],
        reasons={"rejected": {attack: 12}, "dropped": {attack: 3}, "kept": {attack: 3}},
        popularity_buckets=[{**VALUES["popularity_buckets"][1], "label": attack}],
        sequence_lengths={"labels": [attack] * 4},
        model={"path": attack, "backbone": attack, "metrics": {attack: attack}},
        embeddings={"path": attack, "encoder": attack},
        options={attack: [attack]},
        versions={attack: attack},
        finished_at=attack,
        iadsr_version=attack,
    )
    entries = [
        interaction(item_id=attack, text=attack, timestamp=attack),
        interaction(False, f"noise:{attack}", 0.9, item_id=attack, text=attack),
        interaction(True, attack, 0.9),
    ]
    page = Page(render_report(manifest, [{"user_id": attack, "interactions": entries}]))
    assert not page.all("script")
    assert not page.all("img")
    assert not [name for element in page.elements for name in element["attributes"] if name.startswith("on")]
    assert page.texts("del") == [attack]
    assert page.texts("bdi").count(attack) >= 9
    assert attack in page.texts("desc")[1]


def test_what_html_and_utf8_cannot_hold_is_replaced():
    entries = [interaction(text="a\x00b\ud800c\x1bd", item_id="\u202eevil")]
    html = render_report(MANIFEST, [{"user_id": "1", "interactions": entries}])
    html.encode("utf-8")
    assert "a\ufffdb\ufffdc\ufffdd" in html
    assert "\u202eevil</bdi>" in html  # direction marks stay inside their isolate


@settings(max_examples=10)
@given(text=st.text(max_size=40), user=st.text(max_size=20), probability=st.floats(0, 1), keep=st.booleans())
def test_any_text_renders_and_parses(text, user, probability, keep):
    entries = [interaction(keep, None if keep else "noise:short_term", probability, text=text, item_id=user)]
    html = render_report(MANIFEST, [{"user_id": user, "interactions": entries}])
    html.encode("utf-8")
    assert len(Page(html).all("li")) == 1


def test_an_empty_run_renders():
    page = Page(render_report(empty_manifest(), []))
    assert page.texts("p", "headline") == ["No usable interactions"]
    assert "Nothing was dropped." in page.texts("p", "empty")
    assert "There are no users to show." in page.texts("p", "empty")
    assert page.texts("text").count("no interactions") == 2


def test_a_run_that_drops_and_rejects_nothing_says_so():
    manifest = changed(
        rows={"read": 1, "kept": 1, "dropped": 0, "rejected": 0},
        users={"total": 1, "shortened": 0, "emptied": 0, "lookalikes": 0},
        reasons={"dropped": {}, "kept": {}, "rejected": {}},
        noise_probability_histogram={"kept": [1] + [0] * 49, "dropped": [0] * 50},
    )
    page = Page(render_report(manifest, []))
    assert page.texts("p", "headline") == ["None of 1 interaction dropped"]
    assert page.texts("p", "lead") == ["None of 1 user shortened. No rows rejected."]
    assert "Every row could be used." in page.texts("p", "empty")
    assert any(text.startswith("No interaction was protected") for text in page.texts("p", "empty"))


def test_a_run_that_keeps_nothing_renders():
    manifest = changed(
        rows={"read": 5, "kept": 0, "dropped": 5, "rejected": 0},
        reasons={"dropped": {"noise:short_term": 5}, "kept": {}, "rejected": {}},
        noise_probability_histogram={"kept": [0] * 50, "dropped": [0] * 49 + [5]},
    )
    assert Page(render_report(manifest, [])).texts("p", "headline") == ["5 of 5 interactions dropped, 100%"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            ("threshold", None, 0.5, 0, 0),
            "An interaction is dropped when its noise probability is 0.5 or more.",
        ),
        (
            ("drop_rate", 0.1, 0.43, 5, 2),
            "The noisiest 10% of all interactions were to be dropped: those with a noise probability of 0.43 or more. "
            "No user is shortened below 5 interactions; the least noisy are kept to reach it. "
            "Each user's last 2 interactions are kept.",
        ),
        (
            ("threshold", None, 0.5, 1, 1),
            "An interaction is dropped when its noise probability is 0.5 or more. "
            "No user is shortened below 1 interaction; the least noisy is kept to reach it. "
            "Each user's last interaction is kept.",
        ),
        (
            ("drop_rate", 0.0, None, 0, 0),
            "Nothing was to be dropped.",
        ),
        (
            ("auto", 0.0, None, 0, 0),
            "As much noise as the log certainly holds was to be dropped, and none is certain.",
        ),
        (
            ("auto", 0.0312, 0.61, 0, 0),
            "The noisiest 3.12% of all interactions were to be dropped, as much noise as the log certainly "
            "holds: those with a noise probability of 0.61 or more.",
        ),
        (
            ("drop_rate", 0.0001, None, 0, 0),
            "The noisiest 0.01% of all interactions were to be dropped; no threshold does that, so none were.",
        ),
        (("weightless", None, 0.4, 0, 0), "An interaction is dropped when it weighs 0 in training."),
    ],
)
def test_the_rule_is_stated_in_plain_words(policy, expected):
    rule, drop_rate, threshold, min_length, keep_last = policy
    applied = AppliedPolicy(rule, drop_rate, threshold, 4.0, 0.0, min_length, keep_last)
    assert " ".join(describe_policy(applied)) == expected
    render_report(changed(policy=dataclasses.asdict(applied)), [])


def test_rules_alone_show_nothing_of_a_model():
    alone = changed(
        model=None,
        embeddings=None,
        policy=None,
        noise_share=None,
        noise_probability_histogram=None,
        items={"without_text": None, "unknown": None, "borrowed": None},
        reasons={"dropped": {"machine": 34_567}, "kept": {}, "rejected": {}},
    )
    entry = {"item_id": "i1", "text": None, "timestamp": "3", "reason": None, "noise_probability": None}
    interactions = [{**entry, "keep": True}, {**entry, "keep": False, "reason": "machine"}]
    html = render_report(alone, [{"user_id": "u1", "interactions": interactions}])
    shown = html.partition("</style>")[2].partition('id="provenance"')[0]
    for word in ("oise probability", "no text", "hreshold", "behaviour", "opularity", "not judged"):
        assert word not in shown, word
    assert "<bdi>i1</bdi>" in shown
    assert "<del><bdi>i1</bdi></del>" in shown
    assert "None: no rule names what it keeps." in shown


RULES = [
    {"rule": "duplicate", "parameters": {"mode": "auto", "event_column": None}, "interactions": 1_204, "users": 3},
    {"rule": "repeat", "parameters": {"mode": "count", "within_seconds": 60.0}, "interactions": 7, "users": 2},
    {"rule": "window", "parameters": {"after": "2023-11-20T00:00:00Z"}, "interactions": 0, "users": 0},
]


def test_each_rule_is_listed_with_what_it_found_and_what_became_of_it():
    rules = [{**found, "drops": found["rule"] != "repeat"} for found in RULES]
    rows = Page(render_report(changed(rules=rules), [])).texts("tr")
    of_rules = [row for row in rows if row.startswith(("duplicate", "repeat", "window"))]
    meanings = [REASON_BY_CODE[found["rule"]].meaning for found in RULES]
    assert of_rules == [
        f"duplicate 1,204 3 dropped {meanings[0]}",  # no parameter to tell
        f"repeat 7 2 counted only {meanings[1]} (within seconds 60.0)",
        f"window 0 0 none found {meanings[2]} (after 2023-11-20T00:00:00Z)",
    ]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({}, "Times in this log are an order only, so rules that need seconds find nothing."),
        (
            {"unit": "s", "resolution_seconds": 60.0, "first": "2023-11-15T03:39:00Z", "last": "2024-01-18T05:05:00Z"},
            "Times in this log are known to the minute, from 2023-11-15 03:39:00 UTC to 2024-01-18 05:05:00 UTC.",
        ),
    ],
)
def test_the_rules_say_how_fine_the_times_are(times, expected):
    assert any(text.endswith(expected) for text in Page(render_report(changed(times=times), [])).texts("p"))


def test_users_who_stand_out_are_listed_with_their_pace():
    user = {"user_id": "user 1", "reason": "machine", "verdict": "dropped", "interactions": 20_000, "kept": 0}
    paced = {**user, "interactions_per_active_day": 10_000.04, "share_of_repeats": 0.25}
    unpaced = {**paced, "user_id": "<b>", "verdict": "suspect", "interactions_per_active_day": None}
    page = Page(render_report(MANIFEST, [], [paced, unpaced]))
    assert "Users who stand out" in page.texts("h3")
    assert "user 1 machine dropped 20,000 0 10000.0 25%" in page.texts("tr")
    assert "<b> machine suspect 20,000 0 \u2013 25%" in page.texts("tr")
    assert "Users who stand out" not in Page(render_report(MANIFEST, [])).texts("h3")
    assert any(text.startswith("At most 20 users are listed, those with most") for text in page.texts("p", "note"))
    shared = Page(render_report(MANIFEST, [], [paced | {"reason": "shared_account"}]))
    said = [any("as if somebody else used the account" in text for text in each.texts("p")) for each in (page, shared)]
    assert said == [False, True]


def test_what_may_surprise_in_the_input_is_told():
    manifest = changed(notes=["day is a column from the names of folders"], times={"notes": ["time lies <ahead>"]})
    page = Page(render_report(manifest, []))
    assert "How the input was read" in page.texts("h3")
    assert page.texts("li") == ["day is a column from the names of folders", "time lies <ahead>."]
    assert "How the input was read" not in Page(render_report(MANIFEST, [])).texts("h3")


def test_sequence_lengths_are_bars_relative_to_the_longest(page):
    widths = [bar["attributes"]["style"] for bar in page.all("i") if "width" in (bar["attributes"].get("style") or "")]
    assert widths[:8] == [f"width:{width}%" for width in ("0.0", "0.0", "0.0", "0.0", "0.0", "0.1", "100.0", "100.0")]


def test_rules_alone_load_no_plotting_library():
    values = {**VALUES, "policy": None, "noise_probability_histogram": None}
    program = (
        "import json, sys; from iadsr.pipeline.report.render import render_report; "
        "from iadsr.transforms.run.manifest import Manifest; "
        "assert 'Sequence lengths' in render_report(Manifest.from_json(sys.argv[1]), []); "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, json.dumps(values)], check=True)


def test_what_was_dropped_of_each_behaviour_is_listed():
    counts = [
        {"behaviour": "<view>", "interactions": 4000, "dropped": 1000, "journeys": 3000, "noise_share": None},
        {"behaviour": "buy", "interactions": 10, "dropped": 0, "journeys": 10, "noise_share": 0.025},
    ]
    ordered = {**VALUES["options"], "columns": {"behaviour": "event", "behaviours": ["<view>", "buy"]}}
    page = Page(render_report(changed(behaviours=counts, options=ordered), []))
    assert "<view> 4,000 1,000 25% 3,000 \u2013" in page.texts("tr")
    assert "buy 10 0 0% 10 2.5%" in page.texts("tr")
    assert "By behaviour" not in Page(render_report(MANIFEST, [])).texts("h3")
    page = Page(render_report(changed(behaviours=counts), []))  # nothing ends a journey
    assert "<view> 4,000 1,000 25%" in page.texts("tr")
    assert any("as --behaviours names no order" in text for text in page.texts("p", "note"))
