"""The op table: importing this fills `hetero.op.OPS`."""

from hetero.ops import control, conv, elementwise, late, linalg, movement, nn, pool, reduction

__all__ = ["control", "conv", "elementwise", "late", "linalg", "movement", "nn", "pool", "reduction"]
