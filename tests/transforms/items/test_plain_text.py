import pyarrow as pa
import pytest

from iadsr.transforms.items.plain_text import plain_texts, without_html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>Red</b> dress<br/>large", "Red dress large"),
        ("H<sub>2</sub>O", "H2O"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("&amp;lt;p class=&quot;a&gt;b&quot;&amp;gt;5&nbsp;&euro;", "5 €"),
        ("soap<script>if (a<b) { x() }</script><!-- <p> -->", "soap"),
        ("<![CDATA[<p>lamp</p>]]>", "lamp"),
        ("lamp <a href='http://shop/la", "lamp"),
        ("<div><img src=x></div>", None),
    ],
)
def test_html_is_removed(text, expected):
    texts, had_html = plain_texts(pa.array([text], pa.large_string()))
    assert texts.to_pylist() == [expected]
    assert had_html.tolist() == [True]


@pytest.mark.parametrize(
    "text",
    ["I <3 you", "a < b > c", "if a<b and c>d", "C&A", "AT&T; R&D", "<Untitled>", "Map<T>", "a &notes b"],
)
def test_what_only_looks_like_html_stays(text):
    texts, had_html = plain_texts(pa.array([text], pa.large_string()))
    assert texts.to_pylist() == [text]
    assert had_html.tolist() == [False]


def test_control_characters_and_spaces_of_every_kind_become_one_space():
    texts = pa.array([" red\x00\t\u3000dress\u00a0\x85 ", "so\u00adap\u200b", "\ufeff\x1b", None], pa.large_string())
    plain, had_html = plain_texts(texts)
    assert plain.to_pylist() == ["red dress", "soap", None, None]
    assert not had_html.any()


def test_joiners_of_scripts_that_need_them_stay():
    text = "\u0915\u094d\u200d\u0937 \u0645\u06cc\u200c\u062e"
    assert plain_texts(pa.array([text], pa.large_string()))[0].to_pylist() == [text]


def test_removing_html_takes_time_in_proportion_to_the_text():
    assert without_html("<a b=" * 20_000).startswith("<a b=")
    assert without_html("lamp" + "<p " + "x='1' " * 20_000 + "<") == "lamp" + "<p " + "x='1' " * 20_000 + "<"
