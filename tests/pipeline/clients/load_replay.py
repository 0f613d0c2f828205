"""What RePlay holds of an export, after an epoch of SASRec with weights."""

from client import report, run_readme

names = run_readme(
    max_epochs="1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator='cpu'"
)
data = names["data"]


def batches(loader, part):
    for batch in loader:
        yield data.compiled_transforms[part](batch)


def rows(tensor, mask):
    return [values[chosen].tolist() for values, chosen in zip(tensor, mask, strict=True)]


train, behaviours = [], []
for batch in batches(data.train_dataloader(), "train"):
    mask = batch["target_padding_mask"][:, :, 0]
    targets = rows(batch["positive_labels"][:, :, 0], mask)
    train += zip(targets, rows(batch["feature_tensors"]["weight"], mask), strict=True)
    if "behaviour" in batch["feature_tensors"]:
        items, told = (batch["feature_tensors"][name] for name in ("item_id", "behaviour"))
        behaviours += zip(rows(items, batch["padding_mask"]), rows(told, batch["padding_mask"]), strict=True)

parts = {}
for part, loader in (("validate", data.val_dataloader()), ("test", data.test_dataloader())):
    parts[part] = {}
    for batch in batches(loader, part):
        histories = rows(batch["feature_tensors"]["item_id"], batch["padding_mask"])
        for user, history, wanted in zip(batch["query_id"].tolist(), histories, batch["ground_truth"], strict=True):
            parts[part][user] = [history, wanted[wanted >= 0].tolist()]
report({"train": train, "behaviours": behaviours, **parts})
