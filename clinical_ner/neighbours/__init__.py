"""The tags of the nearest training tokens, mixed into the probabilities."""
