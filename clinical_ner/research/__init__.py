"""Experiments: recipes held against each other, and the black-box test for bias."""
