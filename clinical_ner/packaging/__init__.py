"""From a trained pipeline to wheels that install without an index."""
