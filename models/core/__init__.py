"""What every other room uses: errors, printable text, reasons, sequences and windows, item vectors."""
