"""Texts of any length in windows of wordpieces."""
