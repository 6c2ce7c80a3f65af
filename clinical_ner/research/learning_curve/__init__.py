"""How the scores of a recipe grow with the number of annotated notes."""
