"""From tag probabilities to entities: the best legal sequence, and the decision that it serves."""
