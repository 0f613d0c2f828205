"""What every room shares: errors, printable text, sequences and their windows, item vectors."""
