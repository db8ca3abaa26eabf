"""Pictures of plans and runs: one HTML file that needs no network, and traces for Perfetto."""
