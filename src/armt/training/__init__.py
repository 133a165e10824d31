"""One training loop for every memory and task."""
