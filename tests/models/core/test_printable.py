import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from iadsr.models.core.printable import printable


def test_safe_text_in_any_script_is_returned_unchanged():
    for text in ("out/report.html", "C:\\logs\\a.parquet", "Größe 東京 مرحبا 🎬", ""):
        assert printable(text) == text


def test_unsafe_characters_are_escaped():
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable("gpj.\u202eexe") == "gpj.\\u202eexe"
    assert printable("\ud800") == "\\ud800"


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_no_control_characters_are_left_and_escaping_twice_does_nothing(text):
    shown = printable(text)
    assert all(unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") for character in shown)
    assert not set(shown) & set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert printable(shown) == shown
    shown.encode()
