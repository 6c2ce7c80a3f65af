"""Recipes trained on the same documents and seeds, held against each other."""
