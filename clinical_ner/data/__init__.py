"""From annotated files to Docs: mentions, conversion, division."""
