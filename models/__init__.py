"""The models floor: everything that computes with tensors. It knows nothing of files, tables or Beam.

Rooms, lowest first (a room imports only from rooms before it):
    core: errors, printable text, reasons for decisions, sequences and their windows, item vectors.
    noise: inserting noise, estimating how much of it a log holds, recalibrating probabilities.
    vectors: item vectors that are learned from the log.
    encoders: language models that turn item texts into vectors.
    detector: the noise detector, and scoring with it.
    training: training the detector.
    evaluation: measuring how much cleaning improves a recommender.
"""
