from iadsr.transforms.run.pseudonyms import name_users

EXAMPLES = [{"user_id": "anna", "interactions": [1]}, {"user_id": "\ud800", "interactions": []}]


def test_pseudonyms_differ_by_user_and_lead_back_to_nobody():
    name, name_in_another_run = name_users("hashed"), name_users("hashed")
    assert name is not None
    assert name_in_another_run is not None
    first, second = list(map(name, EXAMPLES)), list(map(name_in_another_run, EXAMPLES))
    assert len({example["user_id"] for example in first}) == 2
    assert first[0]["user_id"] != second[0]["user_id"]  # another key in every run
    assert all(set(example["user_id"]) <= set("0123456789abcdef") for example in first)
    assert first[0]["interactions"] == [1]
    assert EXAMPLES[0]["user_id"] == "anna"


def test_a_user_has_one_name_wherever_a_report_shows_it():
    name = name_users("hashed")
    assert name is not None
    assert name({"user_id": 7})["user_id"] == name({"user_id": "7"})["user_id"]


def test_examples_can_be_left_out_or_shown_as_they_are():
    assert name_users("none") is None
    plain = name_users("plain")
    assert plain is not None
    assert list(map(plain, EXAMPLES)) == EXAMPLES
    assert plain({"user_id": 7, "reason": None}) == {"user_id": "7", "reason": None}
