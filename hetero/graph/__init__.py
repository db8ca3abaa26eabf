"""What is run: the graph, its checker, its text, its file format and the passes over it."""

from hetero import ops  # fills the op table that graphs are made of

__all__ = ["ops"]
