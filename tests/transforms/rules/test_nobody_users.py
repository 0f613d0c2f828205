from iadsr.transforms.rules.nobody_users import NobodyUsers

from .conftest import found


def test_users_that_are_nobody_are_found_with_all_their_interactions(shard):
    view = shard([("-1", "a", 0), ("-1", "b", 1), ("u", "a", 2), ("None", "a", 3)])
    assert found(NobodyUsers(), view) == [0, 1, 2]
    assert not NobodyUsers().takes(view.clock)
    assert NobodyUsers("drop").takes(view.clock)
