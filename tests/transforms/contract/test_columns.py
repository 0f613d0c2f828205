import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.detector import iadsr as model_module
from iadsr.models.detector.features import SIMILARITIES
from iadsr.transforms.contract.columns import InteractionColumns


def test_one_column_cannot_have_two_roles():
    with pytest.raises(InputError, match="'user_id' is named for more than one role"):
        InteractionColumns(item="user_id")


def test_similarities_have_the_names_and_the_order_of_the_model():
    assert SIMILARITIES == model_module.SIMILARITIES
