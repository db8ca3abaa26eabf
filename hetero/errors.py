"""The errors that hetero raises on purpose.

A message is up to three parts: the problem with its values, the person's line (or model node) that
made it, and one thing to try. The parts stay on the exception: `.problem`, `.where`, `.hint`.
"""

from __future__ import annotations


class HeteroError(Exception):
    """Base of them all; keeps its parts so that a caller can add to them."""

    def __init__(self, problem: str, *, where: str = "", hint: str = "") -> None:
        self.problem, self.where, self.hint = problem, where, hint
        lines = [problem]
        if where:
            lines.append(f"  made at {where}")
        if hint:
            lines.append(f"  try: {hint}")
        super().__init__("\n".join(lines))

    def at(self, where: str) -> HeteroError:
        """The same error with a place, unless it has one already."""
        if self.where or not where:
            return self
        return type(self)(self.problem, where=where, hint=self.hint)


class ShapeError(HeteroError, ValueError):
    """The shapes do not fit the op."""


class DTypeError(HeteroError, TypeError):
    """The dtypes do not fit the op or the device."""


class AttributeValueError(HeteroError, ValueError):
    """An attribute of an op is missing, unknown or out of range."""


class AxisError(HeteroError, ValueError, IndexError):
    """An axis or an index lies outside the tensor."""


class GraphError(HeteroError, ValueError):
    """A graph, or a file that should hold one, is not valid."""


class ModelError(HeteroError, ValueError):
    """A model file is damaged, hostile, or uses what hetero does not cover."""


class BackendError(HeteroError, LookupError):
    """The backend or device is not there, or cannot do what was asked."""


class DeviceError(HeteroError, RuntimeError):
    """A device failed, vanished or ran out of memory while it worked."""


class KernelError(DeviceError):
    """A device's compiler refuses a kernel: HETERO_FALLBACK says whether the host does what it was for."""


class ConfigError(HeteroError, ValueError):
    """A setting or an environment variable holds a value that means nothing."""


class ProfileError(HeteroError, ValueError):
    """A profile, link, topology or task graph says something impossible, or lacks what it must have."""


class PlanError(HeteroError, ValueError):
    """No plan meets what was asked: the ops and the constraints that leave them nowhere to go."""


class SingularError(HeteroError, ArithmeticError):
    """A matrix has no answer to what was asked: singular, or not positive definite."""


# What NumPy raises at input that passed every check of ours.
FOREIGN = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, MemoryError)


def from_foreign(what: str, error: Exception) -> HeteroError:
    """The error of ours that stands for one of FOREIGN; raise it from that one."""
    text = str(error)
    if isinstance(error, MemoryError) or "too big" in text or "Maximum allowed" in text:
        return DeviceError(f"{what}: no memory for its result: {text}", hint="run with a smaller batch")
    return GraphError(f"{what} cannot be computed: {type(error).__name__}: {text}", hint="are its inputs as it wants?")
