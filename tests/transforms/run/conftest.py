import pytest

from iadsr.transforms.run import manifest as parts

EDGES = tuple(bin / 10 for bin in range(11))
KEPT = (500, 200, 100, 50, 40, 30, 30, 20, 15, 10)


@pytest.fixture
def run() -> parts.Manifest:
    """The manifest of a run that passes all gates."""
    return parts.Manifest(
        format_version=1,
        run="7fcc",
        iadsr_version="0.1.0",
        started_at="2001-09-19T01:46:40+00:00",  # ten days after the model was written
        model=parts.ModelOrigin("model", "33", "gru4rec", {"held_out_auroc": 0.9}, 1_000_000_000.0),
        embeddings=parts.EmbeddingsOrigin("vectors", "semantic", "minilm", "0.1.0", "mean", 4, ("title",), "e5"),
        options={},
        versions={},
        finished_at="2001-09-19T01:50:00+00:00",
        durations_seconds={"total": 1.5},
        rows=parts.RowCounts(1000, 950, 45, 5),
        files=(),
        skipped_files=(),
        tables=(),
        notes=(),
        directory=None,
        outputs=(),
        users=parts.UserCounts(100, 20, 1, 0),
        items=parts.ItemTotals(50, 0, 2, 0),
        reasons=parts.ReasonCounts({}, {"unknown_item": 20}, {}),
        policy=parts.AppliedPolicy("drop_rate", 0.05, 0.5, 4.0, 0.0, 1, 0),
        noise_share=parts.NoiseShareEstimate(0.1, 0.05, 0.15, None, None),
        noise_probability_histogram=parts.ProbabilityHistogram(
            EDGES, (500, 200, 100, 50, 40, 30, 30, 20, 15, 10), (0,) * 10
        ),
        popularity_buckets=(
            parts.PopularityBucket("1", 1, 1, 1, 500, 20, 0.04, 0.04),
            parts.PopularityBucket("2-4", 2, 4, 1, 495, 25, 25 / 495, 0.06),
        ),
        sequence_lengths=parts.SequenceLengths(("0",), (0,), (0,)),
        times=parts.Times("s", 1, "2001-01-01", "2001-09-01", ()),
        rules=(),
    )
