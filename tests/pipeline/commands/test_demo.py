import io

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from iadsr.pipeline.commands.command_options import DemoOptions
from iadsr.pipeline.commands.demo import run_demo
from iadsr.pipeline.engines.progress import Progress
from iadsr.pipeline.engines.runner import beam_options
from iadsr.transforms.contract.columns import InteractionColumns


def test_the_three_commands_in_a_row_on_the_users_own_files(world, tiny_encoder, tmp_path):
    titles = ["red dress", "blue dress", "red lamp", "blue lamp"] * 10
    items = pa.table({"item_id": [f"item-{i:02d}" for i in range(40)], "title": titles})
    pq.write_table(items, tmp_path / "items.parquet")
    sink = io.StringIO()
    options = DemoOptions(
        output=str(tmp_path / "demo"),
        interactions=world.interactions,
        items=str(tmp_path / "items.parquet"),
        columns=InteractionColumns(),
        text_columns=("title",),
        encoder=str(tiny_encoder),
        backbone="gru4rec",
        seed=0,
    )
    results = run_demo(options, beam_options([]), Progress(Console(quiet=True)), Console(file=sink, width=200))
    assert len(pq.read_table(tmp_path / "demo" / "cleaned" / "interactions")) == 3200
    told = "\n".join(map(str, results))
    for words in ("40 items", "held-out", "of 3,200 interactions", "report.html", str(tmp_path / "demo" / "model")):
        assert words in told
