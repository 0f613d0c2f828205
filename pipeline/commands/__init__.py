"""The commands, one module each: what a command is asked, what it does, what it returns."""
