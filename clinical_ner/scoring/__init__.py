"""Scores of predictions against gold, with intervals from a bootstrap over documents."""
