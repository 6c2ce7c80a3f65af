"""Experiments on losses: what they do to the prior, and which of them finds what."""
