import pickle

import apache_beam as beam
import pyarrow as pa
from apache_beam.coders.typecoders import registry

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.contract.table_coder import TableCoder
from iadsr.transforms.files.run_paths import RunPaths
from iadsr.transforms.read.read_splits import ReadSplits

TABLE = pa.table({"user_id": ["a", "b"] * 500, "n": range(1000)})


def test_a_slice_is_encoded_without_the_rest_of_its_table():
    part = TABLE.slice(10, 5)
    encoded = TableCoder().encode(part)
    assert TableCoder().decode(encoded).equals(part)
    assert len(encoded) < 1000 < len(pickle.dumps(TABLE))
    assert part.nbytes <= TableCoder().estimate_size(part) < 200


def test_the_output_of_readers_is_not_pickled_to_learn_its_size():
    pipeline = beam.Pipeline()
    read = pipeline | beam.Create([]) | ReadSplits(InteractionColumns(), TABLE.schema, RunPaths("staging", "out", 1))
    coder = registry.get_coder(read.valid.element_type)
    monitored = coder.get_impl().get_estimated_size_and_observables((3, TABLE))
    assert monitored == (coder.get_impl().estimate_size((3, TABLE)), [])
    assert "TableCoder" in str(coder)
