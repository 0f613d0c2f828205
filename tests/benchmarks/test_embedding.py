import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.embedding import embed, embed_in_a_loop, make_titles, read_vectors


def test_both_ways_give_the_same_vectors(tmp_path):
    titles = make_titles(12)
    assert len(set(titles)) == 12
    items = str(tmp_path / "items.parquet")
    pq.write_table(pa.table({"item_id": range(12), "title": titles}), items)
    vectors = []
    for way in (embed, embed_in_a_loop):
        way(items, str(tmp_path / way.__name__))
        vectors.append(read_vectors(str(tmp_path / way.__name__)))
    assert np.allclose(*vectors, atol=0.03 if torch.cuda.is_available() else 1e-5)  # half precision on a GPU
