"""What a library cannot hold is left out for a stated reason, and held-out interactions never move."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iadsr.transforms.export.export_format import ExportFormat
from iadsr.transforms.export.selection import EMPTY, FEW, LOST, REPEATED, UNFIT, WEIGHTLESS, select


def form(**limits) -> ExportFormat:
    return ExportFormat("Library", (), lambda export: None, lambda run: "", **limits)


def is_x(ids: pa.Array) -> pa.Array:
    return pc.equal(ids, "x")


def select_first(run, **limits):
    return select(next(run.sequences()), form(**limits), run.hold_out)


def test_only_what_weighs_nothing_is_left_out_where_the_library_holds_all(run):
    selected = select_first(run)
    assert selected.sequences.item_ids.to_pylist() == [*"bacad", *"cdab"]
    assert (selected.users, selected.items, selected.interactions) == ({}, {}, {WEIGHTLESS: 1})


def test_users_with_too_little_to_train_on_are_left_out_where_the_library_splits(run):
    first, second = run.sequences()
    whole = select(first, form(splits_itself=True), 2)
    assert whole.sequences.user_ids.to_pylist() == ["ann", "bea"]
    short = select(second, form(splits_itself=True), 2)
    assert {reason: ids.to_pylist() for reason, ids in short.users.items()} == {FEW: ["cid"]}
    assert len(short.sequences.user_ids) == 0


def test_nothing_is_asked_of_users_if_nothing_is_held_out(make_run):
    run = make_run({"ann": [("a", 1, 1.0, "")]}, hold_out=0)
    assert select_first(run, splits_itself=True).sequences.item_ids.to_pylist() == ["a"]


def test_users_and_items_whose_ids_do_not_fit_are_left_out_and_named(make_run):
    train = [("a", 1, 1.0, "train"), ("b", 2, 1.0, "train"), ("c", 3, 1.0, "train")]
    end = [("a", 4, 1.0, "validation"), ("b", 5, 1.0, "test")]
    run = make_run(
        {
            "x": [*train, *end],
            "y": [("x", 0, 1.0, "train"), *train, *end],
            "z": [*train, ("x", 4, 1.0, "validation"), ("b", 5, 1.0, "test")],
        }
    )
    selected = select_first(run, unfit=is_x, splits_itself=True)
    assert {reason: ids.to_pylist() for reason, ids in selected.users.items()} == {UNFIT: ["x"], LOST: ["z"]}
    assert selected.items[UNFIT].to_pylist() == ["x"]
    assert selected.sequences.user_ids.to_pylist() == ["y"]
    assert selected.sequences.item_ids.to_pylist() == [*"abc", *"ab"]
    # A library that is given the parts needs no whole users.
    kept = select_first(run, unfit=is_x).sequences
    assert kept.user_ids.to_pylist() == ["y", "z"]
    assert kept.split.tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 2]


def test_users_of_whom_nothing_is_left_are_named(make_run):
    run = make_run({"ann": [("a", 1, 0.0, "train")], "bea": [("x", 1, 1.0, "train")]})
    selected = select_first(run, unfit=is_x)
    assert {reason: ids.to_pylist() for reason, ids in selected.users.items()} == {EMPTY: ["ann", "bea"]}


def test_of_a_repeated_item_the_last_interaction_stays_in_each_part(make_run):
    run = make_run(
        {
            "ann": [
                ("a", 1, 1.0, "train"),
                ("b", 2, 1.0, "train"),
                ("a", 3, 0.5, "train"),
                ("b", 4, 0.0, "train"),
                ("a", 5, 1.0, "test"),
            ],
            "bea": [("a", 1, 1.0, "train"), ("b", 2, 1.0, "train")],
        },
        hold_out=1,
    )
    selected = select_first(run, once=True)
    assert selected.sequences.item_ids.to_pylist() == [*"baa", *"ab"]
    assert np.array_equal(selected.sequences.weights, np.array([1, 0.5, 1, 1, 1], np.float32))
    assert selected.interactions == {WEIGHTLESS: 1, REPEATED: 1}
