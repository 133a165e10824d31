"""Recorded rows that can be run again: what runs, what was recorded, and the two side by side."""
