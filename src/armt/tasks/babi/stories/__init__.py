"""One file per bAbI task, named by its official title, each with `draw_story`."""
