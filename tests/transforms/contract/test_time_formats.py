import pytest

from iadsr.models.core.errors import UsageError
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.time_formats import format_pattern


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M:%S", "%F %T", "%Y%j", "%d %b %Y", "%A, %B %e, %y %I:%M %p", "%D"])
def test_formats_with_a_day_are_known(form):
    assert format_pattern(form)
    assert InteractionColumns(timestamp_format=form).timestamp_format == form


@pytest.mark.parametrize("form", ["", "soon", "%H:%M", "%Y-%m", "%d/%m", "%c", "%Y-%m-%d %U", "%Y-%m-%d%"])
def test_formats_without_a_day_or_with_an_unknown_directive_are_refused(form):
    with pytest.raises(UsageError, match="OPTION-FORMAT"):
        InteractionColumns(timestamp_format=form)


@pytest.mark.parametrize("zone", ["Mars/Phobos", "", "../etc/passwd", "CEST5"])
def test_a_zone_that_is_none_is_refused(zone):
    with pytest.raises(UsageError, match="OPTION-TIMEZONE"):
        InteractionColumns(timezone=zone)
