"""Corpora: one file per format, and the record of what conversion did to every mention."""
