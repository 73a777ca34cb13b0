"""The page of faults for the documentation, made from the catalogue.

``python -m polymirror.simulator.faults.docs`` writes it to the standard output; a test compares it with
the page. What is said of a fault is its docstring: first what happens, then where it was seen.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING

from polymirror.simulator.faults.catalogue import FAULTS

if TYPE_CHECKING:
    from polymirror.simulator.faults.base import Fault

INTRODUCTION = """\
# Faults

What the embedded exchange can do wrong, to a connection, to a call, to itself, or to your process. Every fault has
an id, strikes by a seed of its own, and counts how often it did:

```python
from polymirror.simulator import Simulator

async with Simulator(seed=7, faults=["lost_delta", "rest_503"]) as venue:
    print(venue.endpoints.stream, venue.line.injected)
```

A `Plan` decides the share of the chances that are taken, from when to when, how long an occurrence lasts, and which
tokens it is about: `make_faults(["frozen_token"], plan=Plan(share=0.01, length_ms=5_000))`. A chance is a frame of the
kind that the fault changes, a call for books, an attempt to connect, or a moment every five seconds for what befalls
the venue or a market.

*Hash* says whether a wrong book that the fault causes shows in the hash of the next delta; where it says "no", either
no book becomes wrong, or only silence, age or another witness tells. This page is generated from the code:
`python -m polymirror.simulator.faults.docs`.

| id | what happens | where it was seen | hash |
|---|---|---|---|
"""


def describe(kind: type[Fault]) -> tuple[str, str]:
    """What a fault does, and where it was seen, each as one line."""
    paragraphs = inspect.cleandoc(kind.__doc__ or "").split("\n\n")
    lines = [" ".join(paragraph.split()) for paragraph in paragraphs]
    seen = next((line for line in lines if line.startswith(("Seen ", "Not "))), "")
    return lines[0].replace("``", "`"), re.sub(":meth:`(.*?)`", r"`\1`", seen).replace("``", "`")


def page() -> str:
    """The whole page in Markdown."""
    rows = []
    for fault_id, kind in FAULTS.items():
        what, seen = describe(kind)
        rows.append(f"| `{fault_id}` | {what} | {seen} | {'yes' if kind.hash_visible else 'no'} |")
    client = ", ".join(f"`{fault_id}`" for fault_id, kind in FAULTS.items() if not kind.over_sockets)
    return (
        INTRODUCTION
        + "\n".join(rows)
        + f"\n\nOnly under a virtual clock, because the client's own process must apply it: {client}.\n"
    )


if __name__ == "__main__":
    sys.stdout.write(page())
