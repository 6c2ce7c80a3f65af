"""Notes in, entities out: a table, a file, or a data frame of Spark."""
