"""What is worth knowing of a corpus before anything is trained on it, one family per file."""
