"""Loops over a batch, compiled by numba. Tensor operations would go through memory once for each step instead.

All read the rows of a table in place, without a copy that has one row for each position. The first call in a new
environment compiles, which takes some seconds. The result is kept beside this file, or in the user's cache directory.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

UNDEFINED = -2.0
"""Less than any cosine."""


def _compile(function: Callable[..., None]) -> Callable[..., None]:
    """Compiles at the first call. Sums may be taken in any order, but always in the same order on one machine."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no directory can be written to: each process compiles for itself
        return numba.njit(**options)(function)


@_compile
def _similarities(vectors, rows, similarity):
    """Fills similarity [n, n], but its diagonal, with the dot products of some rows [n] of vectors."""
    number, size = len(rows), vectors.shape[1]
    for i in range(number):
        own = vectors[rows[i]]
        j = i + 1
        while j + 3 < number:  # four at a time, so that each element read of the own vector is used four times
            one, two, three, four = vectors[rows[j]], vectors[rows[j + 1]], vectors[rows[j + 2]], vectors[rows[j + 3]]
            to_one = to_two = to_three = to_four = np.float32(0)
            for k in range(size):
                to_one += own[k] * one[k]
                to_two += own[k] * two[k]
                to_three += own[k] * three[k]
                to_four += own[k] * four[k]
            similarity[i, j], similarity[i, j + 1] = to_one, to_two
            similarity[i, j + 2], similarity[i, j + 3] = to_three, to_four
            j += 4
        while j < number:
            one = vectors[rows[j]]
            to_one = np.float32(0)
            for k in range(size):
                to_one += own[k] * one[k]
            similarity[i, j] = to_one
            j += 1
        for j in range(i):
            similarity[i, j] = similarity[j, i]


@_compile
def agreement(vectors, rows, present, totals, counts, near, values, defined):
    """Compares each item of a sequence with the others of it; see `agreement.sequence_agreement`.

    Args:
        vectors: Unit vectors, float32 [R, n].
        rows: Row of each position, int64 [B, T].
        present: bool [B, T]; other positions are skipped.
        totals: Sum of the vectors of the whole history that a sequence is a window of, float32 [B, n].
        counts: Vectors in that sum, float32 [B]; 0 if the sequence is the whole history.
        near: Steps within which positions are near in time.
        values: Set to the first six of AGREEMENTS where they are defined, float32 [B, T, 6 or more].
        defined: Set to true there, bool, likewise.
    """
    steps = rows.shape[1]
    at = np.empty(steps, np.int64)
    chosen = np.empty(steps, np.int64)
    similarity = np.empty((steps, steps), np.float32)
    to_rest = np.empty(steps, np.float32)
    to_near = np.empty(steps, np.float32)
    nears = np.empty(steps, np.int64)
    for b in range(len(rows)):
        number = 0
        for t in range(steps):
            if present[b, t]:
                at[number], chosen[number] = t, rows[b, t]
                number += 1
        _similarities(vectors, chosen[:number], similarity)
        pairs = np.float32(0)  # each counts twice
        for i in range(number):
            total, greatest = np.float32(0), np.float32(UNDEFINED)
            for j in range(number):
                if i != j:
                    total += similarity[i, j]
                    greatest = max(greatest, similarity[i, j])
            to_rest[i] = total
            pairs += total
            near_total, near_greatest, near_number = np.float32(0), np.float32(UNDEFINED), 0
            for j in range(max(i - near, 0), min(i + near + 1, number)):
                if i != j and abs(at[i] - at[j]) <= near:
                    near_total += similarity[i, j]
                    near_greatest = max(near_greatest, similarity[i, j])
                    near_number += 1
            to_near[i], nears[i] = near_total, near_number
            if number > 1:
                values[b, at[i], 1], defined[b, at[i], 1] = greatest, True
            if near_number > 0:
                values[b, at[i], 2], defined[b, at[i], 2] = near_total / near_number, True
                values[b, at[i], 3], defined[b, at[i], 3] = near_greatest, True
        count = np.float32(number)
        if counts[b] > 0:
            # An item's similarity to itself is 1, and is subtracted.
            count = counts[b]
            pairs = -count
            for k in range(vectors.shape[1]):
                pairs += totals[b, k] * totals[b, k]
            for i in range(number):
                own = vectors[chosen[i]]
                total = np.float32(-1)
                for k in range(vectors.shape[1]):
                    total += own[k] * totals[b, k]
                to_rest[i] = total
        for i in range(number):
            if count > 1:
                values[b, at[i], 0], defined[b, at[i], 0] = to_rest[i] / (count - 1), True
            if count > 2:
                values[b, at[i], 4] = (pairs - 2 * to_rest[i]) / ((count - 1) * (count - 2))
                defined[b, at[i], 4] = True
            if count - 1 > nears[i]:
                values[b, at[i], 5] = (to_rest[i] - to_near[i]) / (count - 1 - nears[i])
                defined[b, at[i], 5] = True


@_compile
def near_means(features, given, columns, near, values, defined):
    """Takes the mean of some features over the positions near in time, the position itself left out.

    Args:
        features: float32 [B, T, F].
        given: Which of them are defined, bool [B, T, F]; the others are skipped.
        columns: Which features to read, int64 [k].
        near: Steps within which positions are near in time.
        values: Set to the means where they are defined, float32 [B, T, k].
        defined: Set to true there, bool, likewise.
    """
    steps = features.shape[1]
    for b in range(len(features)):
        for t in range(steps):
            for k in range(len(columns)):
                column, total, number = columns[k], np.float32(0), 0
                for j in range(max(t - near, 0), min(t + near + 1, steps)):
                    if j != t and given[b, j, column]:
                        total += features[b, j, column]
                        number += 1
                if number > 0:
                    values[b, t, k], defined[b, t, k] = total / number, True


@_compile
def both_sides(gates, rows, states):
    """Reads sequences from both ends; see `context.read_both_sides`.

    Args:
        gates: What an item keeps of a state and what it adds to it, [R, 2, 2c].
        rows: Row of each position, int64 [B, T].
        states: Set to the states that have read all before and all after each position, [B, T, 2c].
    """
    steps, half = rows.shape[1], states.shape[2] // 2
    for b in range(len(rows)):
        states[b, 0, :half], states[b, steps - 1, half:] = 0, 0
        for t in range(1, steps):
            row = rows[b, t - 1]
            for k in range(half):
                states[b, t, k] = gates[row, 1, k] + gates[row, 0, k] * states[b, t - 1, k]
        for t in range(steps - 2, -1, -1):
            row = rows[b, t + 1]
            for k in range(half, 2 * half):
                states[b, t, k] = gates[row, 1, k] + gates[row, 0, k] * states[b, t + 1, k]


@_compile
def cosines(vectors, others, lag, values):
    """Compares the vectors of sequences with other vectors of theirs, `lag` positions later.

    Args:
        vectors: [B, T, n], or [B, 1, n]: the same one for all positions.
        others: [B, T, n].
        lag: Steps.
        values: Set to the cosine of vectors[:, t - lag] and others[:, t], [B, T]; 0 where it is not defined.
    """
    for b in range(len(values)):
        values[b] = 0
        for t in range(lag, values.shape[1]):
            one, other = vectors[b, t - lag if vectors.shape[1] > 1 else 0], others[b, t]
            product = square = other_square = one[0] * 0
            for k in range(len(one)):
                product += one[k] * other[k]
                square += one[k] * one[k]
                other_square += other[k] * other[k]
            if square > 0 and other_square > 0:
                values[b, t] = product / (np.sqrt(square) * np.sqrt(other_square))


@_compile
def leave_one_out_max(vectors, present, maxima):
    """Takes for each position the element-wise maximum over the other present positions.

    Args:
        vectors: [B, T, h].
        present: bool [B, T].
        maxima: Set to the maxima, [B, T, h]; 0 where no other position is present.
    """
    steps, size = vectors.shape[1:]
    greatest = np.empty(size, vectors.dtype)
    for b in range(len(vectors)):
        number = present[b].sum()
        greatest[:] = -np.inf
        for t in range(steps):
            for k in range(size):
                maxima[b, t, k] = greatest[k]
            if present[b, t]:
                for k in range(size):
                    greatest[k] = max(greatest[k], vectors[b, t, k])
        greatest[:] = -np.inf
        for t in range(steps - 1, -1, -1):
            if number > present[b, t]:
                for k in range(size):
                    maxima[b, t, k] = max(maxima[b, t, k], greatest[k])
            else:
                maxima[b, t] = 0
            if present[b, t]:
                for k in range(size):
                    greatest[k] = max(greatest[k], vectors[b, t, k])


@_compile
def leave_one_out_max_gradient(vectors, present, gradient, to_vectors):
    """Passes the gradient of each maximum to the vector that it comes from. Of several equal ones this is the first.

    Args:
        vectors: [B, T, h].
        present: bool [B, T].
        gradient: Gradient of the maxima, [B, T, h].
        to_vectors: Zeros, to which the gradient of the vectors is added, [B, T, h].
    """
    steps, size = vectors.shape[1:]
    for b in range(len(vectors)):
        for k in range(size):
            first = second = -1
            for t in range(steps):
                if present[b, t]:
                    if first < 0 or vectors[b, t, k] > vectors[b, first, k]:
                        first, second = t, first
                    elif second < 0 or vectors[b, t, k] > vectors[b, second, k]:
                        second = t
            for t in range(steps):
                source = second if t == first else first
                if source >= 0:
                    to_vectors[b, source, k] += gradient[b, t, k]


@_compile
def gru_gates(gates, fed, rows, t):
    """Adds what items feed into the first two of a GRU's gates, before their sigmoid.

    Args:
        gates: What the states feed into the three gates, [B, 3h].
        fed: What each item feeds into them, [R, 3h].
        rows: Item of each position, int64 [B, T].
        t: The position.
    """
    size = gates.shape[1] // 3
    for b in range(len(gates)):
        row = rows[b, t]
        for k in range(2 * size):
            gates[b, k] += fed[row, k]


@_compile
def gru_candidate(gates, fed, rows, t, bias):
    """Sets the last gate, before its sigmoid, from what the state feeds into it, its bias [h] and the first gate."""
    size = gates.shape[1] // 3
    for b in range(len(gates)):
        row = rows[b, t]
        for k in range(size):
            new = 2 * size + k
            gates[b, new] = (gates[b, new] + bias[k]) * gates[b, k] + fed[row, new]


@_compile
def gru_step(gates, state, mask, t, states):
    """Moves the states [B, h] on by one step, and stores them in states [B, T, h] where mask [B, T] is true, else 0.

    The last gate is the sigmoid of twice its input, since tanh(x) = 2 sigmoid(2x) - 1. In torch this is several times
    as fast as tanh.
    """
    size = state.shape[1]
    for b in range(len(state)):
        real = np.float32(mask[b, t])
        for k in range(size):
            new = 2 * gates[b, 2 * size + k] - 1
            state[b, k] = new + gates[b, size + k] * (state[b, k] - new)
            states[b, t, k] = real * state[b, k]


@_compile
def gru_add(gates, from_state, bias, last):
    """Adds what the state feeds into the first two gates of a GRU, and sets what it feeds into the last one.

    Args:
        gates: What items feed into the three gates, [B, 3h].
        from_state: What the state feeds into them, without a bias, [B, 3h].
        bias: Bias of the last gate, [h].
        last: Set to what the state feeds into the last gate, [B, h].
    """
    size = last.shape[1]
    for b in range(len(gates)):
        for k in range(2 * size):
            gates[b, k] += from_state[b, k]
        for k in range(size):
            last[b, k] = from_state[b, 2 * size + k] + bias[k]


@_compile
def gru_reset(gates, last):
    """Adds to the last gate what the state feeds into it, as far as the first gate lets it through."""
    size = last.shape[1]
    for b in range(len(gates)):
        for k in range(size):
            gates[b, 2 * size + k] += gates[b, k] * last[b, k]


@_compile
def gru_next(gates, state, following):
    """Sets the state that follows, from the three gates after their functions and the state, both [B, .]."""
    size = state.shape[1]
    for b in range(len(state)):
        for k in range(size):
            new = gates[b, 2 * size + k]
            following[b, k] = new + gates[b, size + k] * (state[b, k] - new)


@_compile
def gru_step_back(gates, last, state, gradient, to_state, to_fed, to_from_state):
    """Takes the gradient of a GRU's state back by one step.

    Args:
        gates: The three gates after their functions, [B, 3h].
        last: What the state feeds into the last gate, [B, h].
        state: The state before the step, [B, h].
        gradient: Gradient of the state after the step, as an output, [B, h].
        to_state: Gradient of the same state from the steps after it, [B, h]. Set to the gradient of the state before
            the step, but for what comes through the gates.
        to_fed: Set to the gradient of what the item feeds into the gates, [B, 3h].
        to_from_state: Set to the gradient of what the state feeds into them, [B, 3h].
    """
    size = last.shape[1]
    one = np.float32(1)
    for b in range(len(state)):
        for k in range(size):
            reset, keep, new = gates[b, k], gates[b, size + k], gates[b, 2 * size + k]
            total = gradient[b, k] + to_state[b, k]
            to_new = total * (one - keep) * (one - new * new)
            to_keep = total * (state[b, k] - new) * keep * (one - keep)
            to_reset = to_new * last[b, k] * reset * (one - reset)
            to_fed[b, k] = to_from_state[b, k] = to_reset
            to_fed[b, size + k] = to_from_state[b, size + k] = to_keep
            to_fed[b, 2 * size + k] = to_new
            to_from_state[b, 2 * size + k] = to_new * reset
            to_state[b, k] = total * keep
