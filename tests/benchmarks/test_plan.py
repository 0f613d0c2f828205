import sys

from benchmarks import plan


def test_a_run_of_the_rules_is_planned_and_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["plan", "--work", str(tmp_path), "--rows", "3000", "--items", "50", "--only", "rules"]
    )
    plan.main()
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[2] for line in lines] == [
        "shards",
        "peak memory of the worker, MiB",
        "between the steps, MiB",
        "result, MiB",
        "CPU seconds",
    ]
    assert {line[1] for line in lines} == {"3,000"}
    assert lines[0][3:] == ["1", "1", "1.00 |"]
    ratios = {line[2]: float(line[5].rstrip(" |")) for line in lines}
    assert 0.7 < ratios["between the steps, MiB"] < 1.05
    assert ratios["CPU seconds"] > 0


def test_figures_of_all_sizes_can_be_read():
    assert plan.row("clean", 1_000_000, "CPU seconds", 26.2, 25) == (
        "| `clean` | 1,000,000 | CPU seconds | 26.2 | 25.0 | 1.05 |"
    )
    assert plan.row("rules", 10, "requests", 90, 120) == "| `clean --rules-only` | 10 | requests | 90 | 120 | 0.75 |"
