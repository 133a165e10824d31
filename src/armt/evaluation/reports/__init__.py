"""What is drawn from results: reference files, collations, tables, pictures, an HTML page."""
