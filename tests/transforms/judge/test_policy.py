import math

import pytest

from iadsr.models.core.errors import UsageError
from iadsr.transforms.judge.policy import Policy


@pytest.mark.parametrize(
    ("policy", "from_"),
    [
        (Policy(), 0.25),
        (Policy(weight_strength=2.0), 0.5),
        (Policy(weight_strength=1.0), 2.0),
        (Policy(weight_strength=0.0), 2.0),
        (Policy(min_weight=0.1), 2.0),
    ],
)
def test_what_weighs_nothing_begins_where_the_weight_falls_to_zero(policy, from_):
    assert policy.weightless_from == from_


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"drop_rate": 1.0}, "OPTION-RANGE"),
        ({"drop_rate": -0.1}, "OPTION-RANGE"),
        ({"drop_rate": math.nan}, "OPTION-RANGE"),
        ({"threshold": 0.0}, "OPTION-RANGE"),
        ({"keep_last": -1}, "OPTION-RANGE"),
        ({"drop_rate": "weightless", "weight_strength": 1.0}, "OPTION-WEIGHTLESS"),
        ({"drop_rate": "weightless", "min_weight": 0.1}, "OPTION-WEIGHTLESS"),
    ],
)
def test_policies_that_cannot_be_are_refused(values, code):
    with pytest.raises(UsageError) as error:
        Policy(**values)
    assert error.value.code == code
