"""What RecBole holds of an export, after an epoch of SASRec with weights."""

import os

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

from client import report, run_readme

names = run_readme(config_file_list='["recbole.yaml"], config_dict={"epochs": 1, "show_progress": False}')
trainer, train_data = names["trainer"], names["train_data"]


def tokens(dataset, field, numbers):
    return dataset.id2token(field, numbers.numpy()).tolist()


def samples(data):
    """Yields the user, the items before the target, the target, and the target's weight of each sample."""
    dataset, features = data.dataset, data.dataset.inter_feat
    users, items = (tokens(dataset, field, features[field]) for field in ("user_id", "item_id"))
    for place, (user, item) in enumerate(zip(users, items, strict=True)):
        length = int(features["item_length"][place])
        history = tokens(dataset, "item_id", features["item_id_list"][place][:length])
        yield user, history, item, features["weight"][place].item()


# The loss of a batch is the mean by weight of the losses of its targets.
model, batch = trainer.model, next(iter(train_data))
model.eval()
weighted = model.calculate_loss(batch.to(model.device)).item()
logits = model.forward(batch["item_id_list"], batch["item_length"]) @ model.item_embedding.weight.T
losses = -logits.log_softmax(1).gather(1, batch["item_id"][:, None])[:, 0]
expected = ((losses * batch["weight"]).sum() / batch["weight"].sum()).item()
assert abs(weighted - expected) < 1e-5, (weighted, expected)
assert abs(weighted - losses.mean().item()) > 1e-5

report(
    {
        "train": [[user, history, item, weight] for user, history, item, weight in samples(train_data)],
        "validation": {user: [history, item] for user, history, item, _ in samples(names["valid_data"])},
        "test": {user: [history, item] for user, history, item, _ in samples(names["test_data"])},
    }
)
