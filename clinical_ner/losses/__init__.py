"""Losses over tag logits, one per file, each with its way back to p(tag | text)."""
