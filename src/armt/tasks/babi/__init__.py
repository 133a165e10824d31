"""bAbI: the text format of its stories, and own generators of its worlds."""
