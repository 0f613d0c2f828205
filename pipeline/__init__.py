"""The commands: wiring, options, progress, messages and the report."""
