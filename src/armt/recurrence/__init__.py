"""Segments, schedules and the assembled model: carries the states of the layers over a text."""
