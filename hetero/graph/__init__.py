"""What is run: the graph, its checker, its text, its file format and the passes over it."""
