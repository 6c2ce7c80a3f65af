"""A tokenizer for clinical text: spaCy's class with rules that cut where mentions begin and end."""
