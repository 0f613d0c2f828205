"""The rules of a run, in the order in which they are applied."""

import dataclasses
import hashlib
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from ...models.core.errors import InputError, UsageError
from ..contract.columns import InteractionColumns
from ..read.clock import Clock
from .bursts import Bursts
from .core import Core
from .duplicates import Duplicates
from .machines import Machines
from .nobody_users import NobodyUsers
from .non_item_ids import read_non_items
from .non_items import NonItems
from .repeats import Repeats
from .returns import Returns, taken_behaviours
from .rule import Rule, as_number, is_number
from .rule_options import RuleOptions, nothing_between
from .shared_lists import SharedLists
from .value_bounds import ValueBounds
from .window import Window


@dataclasses.dataclass(frozen=True)
class RuleSet:
    """Rules in the order in which they are applied. What one of them takes, the next ones do not see."""

    rules: tuple[Rule, ...]

    @property
    def of_shard(self) -> tuple[int, ...]:
        """Numbers of the rules that look at one shard alone."""
        return tuple(n for n, rule in enumerate(self.rules) if not isinstance(rule, (SharedLists, Core)))

    @property
    def of_log(self) -> tuple[int, ...]:
        """Numbers of the rules that are decided over all shards. They come last."""
        return tuple(n for n, rule in enumerate(self.rules) if isinstance(rule, (SharedLists, Core)))

    @property
    def codes(self) -> tuple[str, ...]:
        """The name of each rule."""
        return tuple(rule.code for rule in self.rules)

    @property
    def core(self) -> Core | None:
        """The rule `core`, if it is among them."""
        return next((rule for rule in self.rules if isinstance(rule, Core)), None)

    @property
    def any_shared_list(self) -> bool:
        """Whether users of the log share a list, as far as `knowing` has told."""
        return any(
            isinstance(rule, SharedLists) and rule.shared is not None and len(rule.shared) for rule in self.rules
        )

    def takes_back(self, columns: InteractionColumns) -> frozenset[str]:
        """Returns the behaviours that take an interaction back."""
        rules = [rule for rule in self.rules if isinstance(rule, Returns) and rule.column == columns.behaviour]
        return frozenset(event for rule in rules for event in taken_behaviours(rule.values, columns))

    def knowing(self, shared: np.ndarray, core_items: np.ndarray | None) -> "RuleSet":
        """Returns the same rules, with what has been found out over all shards."""

        def informed(rule: Rule) -> Rule:
            if isinstance(rule, SharedLists):
                return dataclasses.replace(rule, shared=shared)
            return dataclasses.replace(rule, items=core_items) if isinstance(rule, Core) else rule

        return RuleSet(tuple(map(informed, self.rules)))

    def check_clock(self, clock: Clock) -> None:
        """Checks that the log's times can be compared with those that the rules name.

        Raises:
            InputError: A rule names times or days, and the log's times are only an order.
        """
        timed = [rule for rule in self.rules if isinstance(rule, Window) and rule.names_times]
        if timed and clock.resolution is None:
            raise InputError(
                "--after, --before and --last-days need times that are known",
                code="RULE-CLOCK",
                found="numbers that are no seconds, milliseconds, microseconds or nanoseconds since 1970",
                expected="timestamps",
                fix="leave these options out, or name a column of times with --timestamp-column",
            )

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the rules depend on."""
        digest = hashlib.sha256(repr(self.rules).encode())
        for rule in self.rules:
            if isinstance(rule, NonItems):
                for hashes in (rule.named, rule.catalogue):
                    digest.update(b"-" if hashes is None else hashes.tobytes())
        return digest.hexdigest()


def make_rules(options: RuleOptions, item_column: str, item_type: pa.DataType) -> RuleSet:
    """Returns the rules that are asked for.

    Args:
        options: What is asked for.
        item_column: Name of the column of item ids, also in the files that the options name.
        item_type: Type of the log's item ids.

    Raises:
        UsageError: A time is none, or nothing lies between two of them.
        InputError: A file of ids or the catalogue cannot be used.
    """
    returns = None
    if options.returned_column is not None and options.returned_values is not None:
        returns = Returns(options.returned_column, options.returned_values)
    rules: list[Rule] = [NobodyUsers(options.nobody)]
    named, catalogue = read_non_items(options, item_column, item_type)
    if options.non_items is not None or options.catalogue is not None:
        rules.append(NonItems(named, catalogue))
    rules += [
        Duplicates(options.duplicates, options.event_column, returns),
        # Before rules that thin out what a machine does, and with it the machine's pace.
        Machines(options.machines, options.machine_pace, options.machine_per_day),
        Repeats(options.repeats, options.repeat_seconds, options.repeat_in_a_row, returns),
    ]
    if returns is not None:
        rules.append(returns)
    if options.value_column is not None:
        rules.append(ValueBounds(options.value_column, options.min_value, options.max_value))
    rules += [
        Bursts(options.bursts, options.burst_size),
    ]
    after, before = _seconds("after", options.after), _seconds("before", options.before)
    if after is not None and before is not None and after >= before:
        raise nothing_between("--after", options.after, "--before", options.before)
    window = Window(
        after,
        before,
        options.last_days,
        options.first_interactions,
        options.last_interactions,
    )
    if window != Window():
        rules.append(window)
    rules.append(SharedLists(options.machines))
    core = Core(
        options.min_user_interactions or 1,
        options.min_item_interactions or 1,
        options.max_user_interactions,
        options.max_item_interactions,
    )
    if core != Core() or options.min_user_interactions is not None or options.min_item_interactions is not None:
        rules.append(core)
    return RuleSet(tuple(rules))


def check_rule_columns(options: RuleOptions, schema: pa.Schema, columns: InteractionColumns) -> None:
    """Checks that the log has the columns that the rules read.

    Raises:
        InputError: It lacks one, the column of values holds no numbers, or another one holds what cannot be compared
            with what the options name. Or behaviours have an order, and an event that takes back does not say which.
    """
    for name in options.columns:
        if name not in schema.names:
            raise InputError(
                f"The log has no column {name!r}, which a rule reads",
                code="RULE-COLUMN",
                found=f"columns {', '.join(schema.names)}",
                fix="correct --event-column, --returned-column or --value-column, or carry the column with --columns",
            )
    for name in filter(None, (options.event_column, options.returned_column)):
        kind = schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_interval(kind):
            held = "intervals" if pa.types.is_interval(kind) else "lists or structs"
            raise InputError(
                f"Column {name!r} holds {held}, which rules do not read",
                code="RULE-NESTED",
                found=str(kind),
                expected="text, numbers, or true and false",
                fix="name another column with --event-column or --returned-column",
            )
    try:
        returned = tuple(taken_behaviours(options.returned_values or (), columns))
    except ValueError as error:
        order = list(columns.behaviours or ())
        raise InputError(
            "--returned-values does not say which behaviour an event takes back",
            code="RULE-TAKES-BACK",
            found=str(error),
            expected=f"event=behaviour, each event once, with one of {', '.join(order)}",
            fix=f"write such as --returned-values return={order[-1]}",
        ) from error
    if options.returned_column is not None and is_number(schema.field(options.returned_column).type):
        for text in returned:
            if as_number(text) is None:
                raise InputError(
                    f"Column {options.returned_column!r} holds numbers, and --returned-values names text",
                    code="RULE-RETURNED",
                    found=text,
                    expected=f"numbers, as {schema.field(options.returned_column).type}",
                    fix="correct --returned-values, or name another column with --returned-column",
                )
    if options.value_column is not None:
        kind = schema.field(options.value_column).type
        if not is_number(kind):
            raise InputError(
                f"Column {options.value_column!r} holds no numbers",
                code="RULE-VALUE",
                found=str(kind),
                expected="a number",
                fix="name another column with --value-column",
            )


def _seconds(name: str, text: str | None) -> float | None:
    """Returns a date or time as seconds since 1970."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--{name} is not a date or time",
            code="OPTION-TIME",
            found=text,
            expected="such as 2026-01-31 or 2026-01-31T12:00:00+01:00",
            fix=f"correct --{name}",
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
