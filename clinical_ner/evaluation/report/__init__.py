"""A page of an evaluation: scores, charts, and the decision made again in the browser."""
