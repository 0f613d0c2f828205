import yaml

from iadsr.transforms.write.dataset_card import card_header, run_card


def header_of(card: str) -> dict:
    _, header, _ = card.split("---\n", 2)
    return yaml.safe_load(header)


def test_only_the_first_table_is_loaded_if_none_is_named():
    card = card_header(
        {"rows": {"train": "train/*.parquet", "test": "test/*.parquet"}, "users": {"train": "u.parquet"}}
    )
    assert header_of(card)["configs"] == [
        {
            "config_name": "rows",
            "default": True,
            "data_files": [{"split": "train", "path": "train/*.parquet"}, {"split": "test", "path": "test/*.parquet"}],
        },
        {"config_name": "users", "data_files": [{"split": "train", "path": "u.parquet"}]},
    ]


def test_the_card_of_a_run_names_its_three_tables():
    names = {config["config_name"]: config["data_files"][0]["path"] for config in header_of(run_card())["configs"]}
    assert names == {
        "interactions": "interactions/*.parquet",
        "sequences": "sequences/*.parquet",
        "users": "users/*.parquet",
    }
