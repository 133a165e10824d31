"""Measures models on tasks: one record a sample, tables and heat maps from the records."""
