"""Spiking networks: layers and edges, as one loop over time in a graph."""
