"""The engines that run a pipeline: options, workers, progress, and their errors."""
