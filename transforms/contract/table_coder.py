"""Tells Beam how to turn an Arrow table into bytes.

Import this module wherever a transform emits tables; importing it registers the coder. Beam asks for the size of an
element far more often than for its bytes. Without a coder for tables it would pickle each whole table just to learn its
size, and that costs as much as a step of the pipeline.
"""

import pyarrow as pa
from apache_beam.coders.coders import Coder
from apache_beam.coders.typecoders import registry


class TableCoder(Coder):
    """Encodes Arrow tables as Arrow streams."""

    def encode(self, value: pa.Table) -> bytes:
        """Returns the bytes of a table. If the table is a slice, these are the bytes of the slice only."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.Table:
        """Returns the table."""
        return pa.ipc.open_stream(encoded).read_all()

    def estimate_size(self, value: pa.Table) -> int:
        """Returns roughly how many bytes `encode` would return, without encoding anything."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """Returns True: equal tables with equal chunks have equal bytes."""
        return True


registry.register_coder(pa.Table, TableCoder)
