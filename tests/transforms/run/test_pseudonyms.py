from iadsr.transforms.run.pseudonyms import name_users

EXAMPLES = [{"user_id": "anna", "interactions": [1]}, {"user_id": "\ud800", "interactions": []}]


def test_pseudonyms_differ_by_user_and_lead_back_to_nobody():
    first, second = name_users(EXAMPLES, "hashed"), name_users(EXAMPLES, "hashed")
    assert len({example["user_id"] for example in first}) == 2
    assert first[0]["user_id"] != second[0]["user_id"]  # another key in every run
    assert all(set(example["user_id"]) <= set("0123456789abcdef") for example in first)
    assert first[0]["interactions"] == [1]
    assert EXAMPLES[0]["user_id"] == "anna"


def test_examples_can_be_left_out_or_shown_as_they_are():
    assert name_users(EXAMPLES, "none") == []
    assert name_users(EXAMPLES, "plain") == EXAMPLES
