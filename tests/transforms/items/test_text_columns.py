import pytest

from iadsr.transforms.items.text_columns import choose_text_columns, kind_of


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["https://shop/a.jpg", "http://shop/b"], "addresses"),
        (["s3://bucket/a"], "addresses"),
        (["images/red dress.png".replace(" ", "-"), "/p/12"], "addresses"),
        (["info@shop.com"], "addresses"),
        (['{"colour": "red"}', "[1, 2]"], "JSON"),
        (["['Film', 'Drama']"], "JSON"),
        (["2024-01-31", "2024-02-01T10:00:00Z", "31.12.2024", "20240101"], "dates"),
        (["12.50", "$3", "1,200 EUR", "-4"], "numbers"),
        (["d41d8cd98f00b204e9800998ecf8427e"], "codes"),
        (["123e4567-e89b-12d3-a456-426614174000"], "codes"),
        (["dGhpcyBpcyBhIHRlc3Qgb2YgYmFzZTY0Cg=="], "codes"),
        (["true", "False"], "yes or no"),
        (["\x00\x01\x02a"], "binary data"),
        (["", "  "], "nothing"),
        (["B00ABC12", "B00XYZ34"], "ids"),
        (["knife", "hose"], None),
        (["Red dress", "https://shop/a"], None),
        (["[REC]", "1984", "Se7en", "Alien"], None),
        (["Men/Shoes", "AC/DC", "iPhone15手机壳"], None),
        (["brand-7"] * 5, None),
    ],
)
def test_the_kind_of_a_column_is_seen_in_its_values(values, kind):
    assert kind_of(values) == kind


def test_titles_may_look_like_ids_but_not_like_addresses():
    assert kind_of(["Blink-182", "U2"], named_text=True) is None
    assert kind_of(["http://shop/1"], named_text=True) == "addresses"


def test_preferred_columns_are_taken_in_any_case_and_the_rest_is_named():
    columns = choose_text_columns(
        {"Category": ["Film"], "brand": ["Acme"], "image_url": ["http://a/1.png"], "TITLE": ["Kolya"]}
    )
    assert columns.chosen == ("TITLE", "Category")
    assert columns.not_text == {"image_url": "addresses"}
    assert columns.others == ("brand",)


def test_without_text_in_the_preferred_columns_the_others_are_taken():
    columns = choose_text_columns({"title": [], "category": ["12", "13"], "name": ["Kolya"], "sku": ["a1", "a2"]})
    assert columns.chosen == ("name",)
    assert columns.not_text == {"title": "nothing", "category": "numbers", "sku": "ids"}
