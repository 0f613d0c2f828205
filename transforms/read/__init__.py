"""Reading the log: plan, split, validate, order."""
