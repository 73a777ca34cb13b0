"""``polymirror faults``: everything that can be made to go wrong, and where it was seen.

Books, calls and prices are told by their classes' own docstrings; what may happen to orders is a list of rates, so its
words are here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from polymirror.commands.screen import make_console, print_json
from polymirror.config import one_of
from polymirror.errors import ConfigError
from polymirror.simulator.faults.catalogue import FAULTS, LISTED_BY
from polymirror.simulator.faults.docs import describe
from polymirror.simulator.feeds import FEED_FAULTS
from polymirror.simulator.outfit import ORDER_FAULTS, USER_FAULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

WORDS: Final[dict[str, str]] = {
    "answer_lost": "A call is processed, and its answer is never heard.",
    "request_lost": "A call is never processed, and nobody hears of that either.",
    "request_late": "A call has no answer, and is processed later, perhaps after somebody looked for it.",
    "too_early": "A call is answered with 425: the matching engine is restarting.",
    "too_many": "A call is answered with 429, half of the time with the seconds to wait.",
    "unavailable": "A call is answered with 503, by the venue's text or a page of its front server.",
    "answer_late": "A call is processed at once, and its answer takes its time.",
    "twice": "A call arrives twice, as from a front server that tries again; the second answer is heard.",
    "post_only": "503 with the code post_only_mode: no order that may take is taken, though cancels are.",
    "reads": "Look-ups are lost or refused.",
    "unmatched": "An accepted order finds no match, whatever the book says.",
    "null_lookups": "The look-up of one order is answered by null, though it is there.",
    "strange_words": "The status of an order or a trade is a word that nobody knows.",
    "stale_balances": "A look at a balance shows what the last look showed.",
    "failed_trades": "The trades of a matched order fail on the chain.",
    "user_missing": "An event of the user channel never comes.",
    "user_duplicated": "An event of the user channel comes twice.",
    "user_swapped": "An event of the user channel comes after the next one.",
    "user_late": "An event of the user channel, and what follows it, comes late.",
    "user_silent": "An event of the user channel and all later ones are never told, though PING is answered.",
}
"""What happens to orders and on the user channel, by id."""


def all_faults() -> list[dict[str, Any]]:
    """Every fault as a plain object: its id, what it is about, what happens, where it was seen, and who can have it."""
    found: list[dict[str, Any]] = []
    for about, kinds in (("books and calls", FAULTS), ("prices", FEED_FAULTS)):
        for name, kind in kinds.items():
            what, seen = describe(kind)
            commands = _commands(serve=kind.over_sockets, torture=kinds is FAULTS)
            found.append({"id": name, "about": about, "what": what, "seen": seen, "commands": commands})
    for about, names in (("orders", ORDER_FAULTS), ("the user channel", USER_FAULTS)):
        commands = _commands(serve=True, torture=False)
        found += [{"id": n, "about": about, "what": WORDS[n], "seen": "", "commands": commands} for n in names]
    return found


def _commands(*, serve: bool, torture: bool) -> list[str]:
    return [name for name, takes in (("serve", serve), ("torture", torture)) if takes]


def run_faults(word: str | None, *, json: bool) -> int:
    """List the faults that have this word in their id or in what they do; all without one. Returns the exit code.

    Raises ConfigError for a word that none has.
    """
    faults = all_faults()
    if word is not None:
        wanted = word.lower()
        chosen = [fault for fault in faults if wanted in f"{fault['id']} {fault['what']} {fault['about']}".lower()]
        if not chosen:
            raise ConfigError("faults", word, one_of(word, [fault["id"] for fault in faults], LISTED_BY))
        faults = chosen
    if json:
        print_json({"faults": faults})
    else:
        _show(make_console(), faults)
    return 0


def _show(console: Console, faults: Sequence[dict[str, Any]]) -> None:
    if not console.is_terminal:
        # A line for each with tabs between, to be searched.
        for fault in faults:
            sys.stdout.write("\t".join((fault["id"], fault["about"], fault["what"], fault["seen"])).rstrip() + "\n")
        return
    about, widest = None, min(max(len(fault["id"]) for fault in faults), console.width // 2)
    for fault in faults:
        if fault["about"] != about:
            about = fault["about"]
            console.print(Text(f"\n{about}" if fault is not faults[0] else about, style="bold"))
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(width=widest, overflow="fold")
        table.add_column(ratio=1)
        text = Text(fault["what"])
        if fault["seen"]:
            text.append(f" {fault['seen']}", style="dim")
        if "serve" not in fault["commands"]:
            text.append(" Virtual time only.", style="dim")
        table.add_row(Text(fault["id"], style="cyan"), text)
        console.print(table)
    console.print("\nGive one to 'polymirror serve --fault' or 'polymirror torture --fault'.", style="dim")
