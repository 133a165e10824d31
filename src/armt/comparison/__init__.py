"""Compares all memories: one backbone, one set of data, the same steps and seeds, one table."""
