"""The op table: importing this fills `hetero.op.OPS`."""

from hetero.ops import control, elementwise, late, linalg, movement, reduction

__all__ = ["control", "elementwise", "late", "linalg", "movement", "reduction"]
