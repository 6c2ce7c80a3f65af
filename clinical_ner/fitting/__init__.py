"""Everything that is fitted on held-out documents."""
