"""Training of the detector, stage by stage."""
