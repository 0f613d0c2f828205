"""A shard in order with what the rules have found in it, and the file in which it waits for the rest of the log."""

import dataclasses
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import pyarrow as pa

from ..contract.columns import INTERNAL_PREFIX, ROW, TIME, InteractionColumns
from ..read.clock import Clock
from ..read.ordering import OrderedShard
from .duplicates import firsts_of_moments
from .journeys import Journeys, find_journeys
from .rule import RuleInput
from .rule_set import RuleSet
from .shared_lists import list_fingerprints

_ITEM, _USER, _TAKEN, _COUNTED = (f"{INTERNAL_PREFIX}{name}" for name in ("item", "user", "taken", "counted"))
_INTERNAL = (_ITEM, _USER, ROW, TIME, _TAKEN, _COUNTED)
_BEHAVIOUR = f"{INTERNAL_PREFIX}behaviour"
"""Only logs that have behaviours have this one."""

_NO_RULE = -1
_HELD_OUT = -2


@dataclasses.dataclass(frozen=True)
class RuledShard:
    """The interactions of a shard, and what the rules have found among them."""

    ordered: OrderedShard
    """All interactions in order."""
    taken: np.ndarray
    """int8 [rows]; number of the rule that takes the interaction, -1 if none does, -2 if it is held out."""
    counted: np.ndarray
    """uint16 [rows]; bit n is set if rule n is about the interaction, and only counts."""

    @classmethod
    def untouched(cls, ordered: OrderedShard, hold_out: int = 0) -> "RuledShard":
        """Returns a shard on which no rule has been applied.

        Args:
            ordered: The interactions.
            hold_out: The last `hold_out` of each user are held out. Users who have no more than these keep all of
                them for training, as nothing could be recommended to them.
        """
        lengths = np.diff(ordered.offsets)
        from_end = np.repeat(ordered.offsets[1:], lengths) - np.arange(len(ordered.items))
        held_out = (from_end <= hold_out) & np.repeat(lengths > hold_out, lengths)
        taken = np.where(held_out, np.int8(_HELD_OUT), np.int8(_NO_RULE))
        return cls(ordered, taken, np.zeros(len(ordered.items), np.uint16))

    @cached_property
    def open(self) -> np.ndarray:
        """Bool [rows]; whether no rule has taken the interaction, and it is not held out."""
        return self.taken == _NO_RULE

    @property
    def held_out(self) -> np.ndarray:
        """Bool [rows]; whether the interaction is held out to test recommenders. Nothing is decided by it."""
        return self.taken == _HELD_OUT

    @property
    def split(self) -> np.ndarray:
        """int8 [rows]; the part that each interaction plays, by its number in SPLITS.

        The last of those held out is the test item of its user. The others are for validation.
        """
        split = self.held_out.astype(np.int8)
        last = self.ordered.offsets[1:] - 1
        split[last] *= 2
        return split

    @cached_property
    def open_offsets(self) -> np.ndarray:
        """int64 [users + 1]; user u has the open interactions offsets[u] to offsets[u + 1]."""
        return np.append(0, np.cumsum(self.open))[self.ordered.offsets]

    @cached_property
    def witnesses(self) -> np.ndarray:
        """int64 [rows]; for each open interaction the first open one that says the same.

        Where a clock is too coarse to call equal rows duplicates, they stay. But an event is no evidence for itself, so
        the detector reads the first of those with the same user, time and item only, and they share its scores. If the
        log has behaviours, the same holds for all of a journey.
        """
        rows = np.flatnonzero(self.open)
        ordered = self.ordered
        first = np.arange(len(self.open))
        if ordered.behaviours is not None:
            first[rows] = rows[self._journeys.first]
        else:
            first[rows] = rows[firsts_of_moments(ordered.users[rows], ordered.time[rows], ordered.items[rows])]
        return first

    @cached_property
    def _journeys(self) -> Journeys:
        """Of the open interactions."""
        ordered, rows = self.ordered, np.flatnonzero(self.open)
        assert ordered.behaviours is not None
        columns = (ordered.users, ordered.items, ordered.time, ordered.behaviours)
        return find_journeys(*(column[rows] for column in columns))

    @property
    def reached(self) -> np.ndarray | None:
        """int32 [open]; the strongest behaviour of each open interaction's journey; None if there are no behaviours."""
        return None if self.ordered.behaviours is None else self._journeys.reached

    @property
    def evidence(self) -> np.ndarray:
        """The open interactions that the detector reads, one of each event, bool [rows]."""
        return self.open & (self.witnesses == np.arange(len(self.open)))

    def evidence_alone(self) -> OrderedShard:
        """Returns the interactions of `evidence` alone. Users and items without any are left out."""
        evidence = self.evidence
        if evidence.all():
            return self.ordered
        return self.ordered.only(evidence)

    def journeys_alone(self) -> OrderedShard:
        """Returns one interaction of each journey, the first with its strongest behaviour. The log has behaviours."""
        rows = np.flatnonzero(self.open)
        assert self.ordered.behaviours is not None
        strongest = self.ordered.behaviours[rows] == self._journeys.reached
        _, first = np.unique(self._journeys.first[strongest], return_index=True)
        chosen = np.zeros(len(self.open), bool)
        chosen[rows[strongest][first]] = True
        return self.ordered.only(chosen)

    def found_by(self, number: int) -> np.ndarray:
        """Returns which interactions rule `number` is about, whether it takes them or counts them, bool [rows]."""
        return (self.taken == number) | (self.counted & np.uint16(1 << number)).astype(bool)


def apply_rules(
    shard: RuledShard, rules: RuleSet, numbers: Iterable[int], columns: InteractionColumns, clock: Clock
) -> RuledShard:
    """Applies some of the rules to a shard, one after the other.

    Args:
        shard: The shard, with what earlier rules have found.
        rules: All rules.
        numbers: Which of them to apply, in ascending order.
        columns: Names of the log's columns.
        clock: Of the whole log.
    """
    taken, counted = shard.taken, shard.counted
    view, gone = RuleInput(shard.ordered, columns, clock, shard.open), None
    for number in numbers:
        view, gone = view if gone is None else view.without(gone), None
        rule = rules.rules[number]
        found = rule.find(view)
        if not found.any():
            continue
        if rule.takes(clock):
            taken = np.where(found, np.int8(number), taken)
            gone = found
        else:
            counted = counted | (found.astype(np.uint16) << np.uint16(number))
    return RuledShard(shard.ordered, taken, counted)


def long_lists(shard: RuledShard, columns: InteractionColumns, clock: Clock) -> np.ndarray:
    """Returns a fingerprint for each user with a long list, see `shared_lists`, uint64 [k]."""
    return list_fingerprints(RuleInput(shard.ordered, columns, clock, shard.open))[1]


def ruled_shard_to_table(shard: RuledShard) -> pa.Table:
    """Returns a shard as one table, for `ruled_shard_from_table`."""
    ordered = shard.ordered
    items = pa.DictionaryArray.from_arrays(pa.array(ordered.items), ordered.item_ids)
    table = ordered.table
    internal = (items, ordered.users.astype(np.int32), ordered.rows, ordered.time, shard.taken, shard.counted)
    for name, values in zip(_INTERNAL, internal, strict=True):
        table = table.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
    return table if ordered.behaviours is None else table.append_column(_BEHAVIOUR, pa.array(ordered.behaviours))


def ruled_shard_from_table(table: pa.Table) -> RuledShard:
    """Returns the shard that `ruled_shard_to_table` turned into a table. More columns of the table stay in it."""
    behaviours = None
    if _BEHAVIOUR in table.column_names:
        behaviours = table[_BEHAVIOUR].combine_chunks().to_numpy()
        table = table.drop_columns([_BEHAVIOUR])
    column = {name: table[name].combine_chunks() for name in _INTERNAL}
    values = {name: array.to_numpy() for name, array in column.items() if name != _ITEM}
    offsets = np.append(0, np.cumsum(np.bincount(values[_USER]))).astype(np.int64)
    items = column[_ITEM]
    data = table.drop_columns(list(_INTERNAL))
    ordered = OrderedShard(
        data, offsets, items.dictionary, items.indices.to_numpy(), values[ROW], values[TIME], behaviours
    )
    return RuledShard(ordered, values[_TAKEN], values[_COUNTED])
