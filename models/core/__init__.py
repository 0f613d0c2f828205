"""What every other room uses: errors, printable text, sequences and their windows, item vectors."""
