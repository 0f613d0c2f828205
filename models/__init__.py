"""Tensors: encoders, the IADSR model, its training and its scoring. Knows nothing of Beam."""
