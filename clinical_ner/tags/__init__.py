"""Tags: their names, which may follow which, how gold becomes tag ids, and their counts."""
