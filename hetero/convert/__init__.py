"""In and out: models of other formats."""
