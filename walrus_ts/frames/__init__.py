"""Entries of one stream as tables and frames, by the stream's record."""
