import sys

from benchmarks import joins


def test_both_joins_are_measured_on_the_same_log(tmp_path, monkeypatch, capsys):
    arguments = ["joins", "--work", str(tmp_path), "--rows", "2000", "--items", "50", "--repeat", "1"]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(joins, "ITEM_SHARD_BYTES", 10_000)
    joins.main()
    row = capsys.readouterr().out.splitlines()[-1]
    assert row.startswith("| 50 | ")
    assert row.count(" s |") == 3
