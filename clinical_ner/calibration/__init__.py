"""Corrections of p(tag | text) behind the inverse of the loss, fitted on held-out documents."""
