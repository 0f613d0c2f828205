"""Item vectors that are learned from the log: co-occurrence, components in which users agree, neighbours."""
