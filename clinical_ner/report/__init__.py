"""From result files to pictures and tables; nothing is computed here."""
