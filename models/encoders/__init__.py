"""Text encoders: frozen language models that turn item texts into vectors. `embed` uses them."""
