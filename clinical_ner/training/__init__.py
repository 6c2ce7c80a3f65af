"""What spaCy's training loop is given: splits, schedules and intervals that know the corpus."""
