"""Writes the table of covered ONNX operators into docs/onnx.md: `python -m hetero.convert.onnx_table`."""

from __future__ import annotations

import sys
from pathlib import Path

from hetero.convert import onnx_lowerings
from hetero.convert.onnx_call import TABLE, Entry
from hetero.convert.onnx_indexing import INTERNAL

assert onnx_lowerings  # importing it fills the table

PAGE = Path(__file__).parents[2] / "docs/onnx.md"
BEGIN, END = "<!-- table: python -m hetero.convert.onnx_table -->\n", "<!-- end of table -->\n"


def covered() -> str:
    """One row for each operator that is lowered."""
    rows = ["| operator | becomes | attributes | other rules before |", "| --- | --- | --- | --- |"]
    for (domain, op), entries in sorted(TABLE.items()):
        known = [e for e in entries if e.function is not None]
        if domain == INTERNAL or not known:
            continue
        newest = known[-1]
        older = ", ".join(f"opset {e.since}" for e in known[1:])
        rows.append(f"| {_name(domain, op)} | {_escaped(newest.note)} | {_attributes(newest)} | {older} |")
    return "\n".join(rows) + "\n"


def refused() -> str:
    """One row for each reason, with the operators that it holds for."""
    reasons: dict[str, list[str]] = {}
    for (domain, op), entries in sorted(TABLE.items()):
        if entries[-1].function is None:
            reasons.setdefault(entries[-1].reason, []).append(_name(domain, op))
    rows = [f"| {', '.join(ops)} | {reason} |" for reason, ops in reasons.items()]
    return "\n".join(["| refused | because |", "| --- | --- |", *rows]) + "\n"


def _name(domain: str, op: str) -> str:
    return f"{domain}.{op}" if domain else op


def _attributes(entry: Entry) -> str:
    return "all" if entry.open else ", ".join(f"`{a}`" for a in sorted(entry.attrs))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def filled(page: str) -> str:
    """The page with its table made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{covered()}\n{refused()}\n{END}{tail}"


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(filled(page), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
