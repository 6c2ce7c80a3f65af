"""Speed of prediction."""
