"""Running a pipeline over annotated documents, and what is counted, drawn and written of it."""
