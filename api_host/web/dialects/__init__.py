"""One file a dialect; they share the pipeline and the pace, and never import each other."""
