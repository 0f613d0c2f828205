"""Item vectors learned from the log: co-occurrence, the components in which users agree, neighbours."""
