"""Measures speed and memory, and accounts for them: records, tables, pictures."""
