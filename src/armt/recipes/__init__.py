"""Functions that return whole configs; a run is asked for by the function's name."""
