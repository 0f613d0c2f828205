from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.read.time_texts import count_zones, read_texts

EIGHT = datetime(2024, 6, 10, 8, tzinfo=UTC)


def read(*texts, **options) -> list[datetime | None]:
    seconds, rest, usable = read_texts(pa.chunked_array([pa.array(texts, pa.string())]), **options)
    moments = zip(seconds.tolist(), rest.tolist(), usable, strict=True)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [epoch + timedelta(seconds=s, microseconds=n // 1000) if ok else None for s, n, ok in moments]


@pytest.mark.parametrize(
    "text",
    [
        "2024-06-10T08:00:00",
        "2024-06-10 08:00:00 UTC",
        "2024-06-10T08:00:00Z[UTC]",
        "2024-06-10T10:00:00+02:00[Europe/Paris]",
        "2024-06-10T10:00:00+0200",
        "2024-06-10T10:00:00.000+02",
        "2024-06-10 03:00:00 -0500",
        "2024/06/10 08:00:00",
        "2024-6-10 8:00",
        "2024.06.10 08:00:00,000",
        "20240610080000",
        "20240610080000000",
        "20240610080000Z",
        "202406100800",
        "20240610T080000",
        "1718006400",
        "1718006400.0",
        "1718006400000",
        "1718006400000000000",
        " 2024-06-10T08:00:00 ",
        "2024-W24-1T08:00:00",
    ],
)
def test_texts_as_exports_have_them_are_times(text):
    assert read(text) == [EIGHT]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "nan",
            "None",
            "12",
            "0",
            "-1",
            "2024",
            "soon",
            "08:00:00",
            "1e9",
            "1.718006e+09",
            "06/10/2024",
            "10 Jun 2024",
        ),
        *("0000-00-00 00:00:00", "2024-02-30", "2023-02-29", "2024-13-01", "2024-06-10T24:00:00", "2024-06-10 08:61"),
        *("10000-01-01", "2024-06-10T08:00:00 CET", "99999999999999", "9999999999999999999", "\u0662\u0660240610"),
        "2024-06-10T08:00:00" + "0" * 80,
    ],
)
def test_other_texts_are_no_times(text):
    assert read(text, "2024-06-10 08:00:00") == [None, EIGHT]


def test_bytes_that_are_no_utf8_are_no_time_whatever_stands_around_them():
    texts = [b"2024-W24-1", b"2024-W24-1\x8008:00", b"2024-06-10\x80", b"\xff", b"2024-W24-\xc3\xa9"]
    broken = pa.array(texts, pa.binary()).view(pa.string())
    _, _, usable = read_texts(pa.chunked_array([broken]))
    assert usable.tolist() == [True, False, False, False, False]


def test_an_epoch_that_went_through_a_float_is_never_a_year():
    assert read("1401010112345.0") == [datetime(2014, 5, 25, 9, 28, 32, 345_000, tzinfo=UTC)]


def test_a_date_with_an_offset_is_midnight_there():
    assert read("2024-06-10+02:00", "2024-06-10Z") == [EIGHT - timedelta(hours=10), EIGHT - timedelta(hours=8)]


def test_numbers_in_text_show_their_unit_by_their_magnitude_and_others_have_the_named_one():
    assert read("1718006400", "1718006400500", "63072000.5") == [EIGHT, EIGHT + timedelta(seconds=0.5), None]
    assert read("631151999", unit="s") == [datetime(1989, 12, 31, 23, 59, 59, tzinfo=UTC)]


def test_nine_digits_of_a_second_are_kept():
    values = pa.chunked_array([["2024-06-10T08:00:00.123456789Z", "2024-06-10T08:00:00.1234567899"]])
    assert read_texts(values)[1].tolist() == [123_456_789, 123_456_789]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("10/06/2024 08:00", "%d/%m/%Y %H:%M"),
        ("10/Jun/2024:10:00:00 +0200", "%d/%b/%Y:%H:%M:%S %z"),
        ("Mon, 10 Jun 2024 08:00:00 GMT", "%a, %d %b %Y %H:%M:%S %Z"),
        ("June 10, 2024 08:00:00 AM", "%B %d, %Y %I:%M:%S %p"),
        ("6/10/24 8:00", "%m/%d/%y %H:%M"),
        ("2024162 080000", "%Y%j %H%M%S"),
        ("at 5 to 8: 2024-06-10 08:00:00.000", "at 5 to 8: %F %T.%f"),
    ],
)
def test_a_format_can_be_named(text, form):
    assert read(text, "2024-06-10T08:00:00Z", form=form) == [EIGHT, None]


def test_twelve_at_noon_and_at_midnight():
    noon = datetime(2024, 6, 10, 12, tzinfo=UTC)
    texts = ("2024-06-10 12:00 PM", "2024-06-10 12:00 AM", "2024-06-10 13:00 PM")
    assert read(*texts, form="%Y-%m-%d %I:%M %p") == [noon, noon - timedelta(hours=12), None]


def test_the_time_zone_is_that_of_texts_without_one():
    texts = ("2024-06-10T10:00:00", "2024-06-10T10:00:00+02:00", "2024-06-10T08:00:00Z", "2024-01-10T09:00:00")
    assert read(*texts, timezone="Europe/Paris") == [EIGHT, EIGHT, EIGHT, datetime(2024, 1, 10, 8, tzinfo=UTC)]
    values = pa.chunked_array([[*texts, "2024-06-10T08:00:00+00:00", None, "soon", "1718006400"]])
    assert count_zones(values) == (2, 2, 1, 1)


@given(st.lists(st.one_of(st.none(), st.datetimes(), st.text(max_size=6)), min_size=1), st.sampled_from("T "))
def test_what_python_writes_is_read_as_python_reads_it(drawn, separator):
    texts = [each.isoformat(separator) if isinstance(each, datetime) else each for each in drawn]
    expected = [each.replace(tzinfo=UTC) if isinstance(each, datetime) else None for each in drawn]
    found = read(*texts)
    for moment, wanted, text in zip(found, expected, texts, strict=True):
        assert moment == wanted, text


def test_texts_of_many_forms_and_of_many_blocks_are_read_each_as_itself():
    texts = [f"{'x' * (n % 70)}{n}" for n in range(500)] + ["2024-06-10 08:00:00"] * 3
    assert read(*texts)[-3:] == [EIGHT] * 3
    assert read(*texts)[:500] == [None] * 500
    seconds = np.arange(150_000) * 3600 + 1_600_000_000
    many = pa.array(seconds, pa.timestamp("s")).cast(pa.string())
    found, _, usable = read_texts(pa.chunked_array([many[:70_001], many[70_001:]]))
    assert usable.all()
    assert np.array_equal(found, seconds)
