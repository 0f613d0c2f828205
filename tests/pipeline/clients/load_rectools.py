"""What RecTools holds of an export, after an epoch of SASRec."""

from client import by_user, report, run_readme

names = run_readme(epochs="1, n_factors=8, n_blocks=1, session_max_len=50")
preparator = names["model"].data_preparator
sessions = preparator.get_dataloader_train().dataset
raw = names["dataset"].get_raw_interactions().sort_values(["user_id", "datetime"])
held_out = raw[names["is_validation"](raw)]
test = names["test"]
report(
    {
        "train": sorted(
            [preparator.item_id_map.convert_to_external(items).tolist(), [float(weight) for weight in weights]]
            for items, weights in zip(sessions.sessions, sessions.weights, strict=True)
        ),
        "history": by_user(zip(raw["user_id"], raw["item_id"], strict=True)),
        "validation": by_user(zip(held_out["user_id"], held_out["item_id"], strict=True)),
        "test": by_user(zip(test["user_id"], test["item_id"], strict=True)),
    }
)
