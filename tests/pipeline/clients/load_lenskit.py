"""What LensKit holds of an export, after training."""

from client import by_user, report, run_readme

names = run_readme()
train = names["train"].interaction_table(format="pandas", original_ids=True).sort_values(["user_id", "timestamp"])
report(
    {
        "train": by_user(
            (user, [item, weight])
            for user, item, weight in zip(train["user_id"], train["item_id"], train["weight"], strict=True)
        ),
        "test": {key.user_id: items.ids().tolist() for key, items in names["test"]},
        "recommended": len(names["lists"]),
    }
)
