"""What a person asks of a bot's ledger: each command here reads it, also while the bot writes it, and answers.

An :class:`Answer` has the same thing twice: as plain values for JSON, money as text so that it stays exact, and as
text of 80 columns. Nothing is changed here; what is asked of a bot is in :mod:`bots.common.operate.asking`.
"""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs
from attrs import frozen

from bots.common.errors import BotError
from bots.common.ledger.database import copies_of, in_use
from bots.common.ledger.reader import LedgerReader
from bots.common.ledger.rows import ZERO, from_e6
from bots.common.operate.screens import ago, curve, exact, facts, middle_cut, moment, money, table, wrapped
from bots.common.risk.follow import GO_ON, PAUSE, RESUME, STOP
from bots.common.risk.switch import STOP_FILE
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEDGER: Final = re.compile(r"(?P<mode>paper|live|simulated)-(?P<wallet>[0-9a-z]+)\.sqlite")

DAY_MS: Final = 86_400_000

STATES: Final = ("STOPPED", "PAUSED")

FEW: Final = 5
"""So many notices are shown by ``status``, and so many names when several fit."""


@frozen
class Answer:
    """What a command says: ``data`` for machines, ``text`` for people, and the exit code."""

    data: dict[str, Any]
    text: str
    code: int = 0


def find(folder: Path | None, mode: str, wallet: str, here: Path) -> Path:
    """Return the one ledger that is meant: in ``folder``, or in ``here`` and the folders in it. Raises BotError."""
    places = [here, *sorted(here.glob("*/"))] if folder is None else [folder]
    found = []
    for path in sorted(path for place in places for path in place.glob("*.sqlite")):
        named = LEDGER.fullmatch(path.name)
        if named and mode in {"", named["mode"]} and wallet.lower() in {"", named["wallet"]}:
            found.append(path)
    if folder is not None and not folder.is_dir():
        raise BotError(f"there is no folder {folder}: name another with --folder, or start a bot")
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(str(path) for path in found)
        raise BotError(f"there are {len(found)} ledgers: choose with --folder, --mode or --wallet: {names}")
    where = f"{folder}" if folder is not None else f"{here} and the folders in it"
    raise BotError(f"there is no such ledger in {where}: name its folder with --folder, or start a bot")


def status(path: Path, now_ms: int) -> Answer:
    """Say how a bot is: whether it runs and may buy, what it holds and earned, what is open, and what it told last."""
    with LedgerReader(path) as reader:
        account, bend = reader.account(), reader.curve()
        stopped, paused = _last_of(reader, STOP, RESUME), _last_of(reader, PAUSE, GO_ON)
        asked = reader.query(
            "SELECT kind, detail, at_ms FROM requests WHERE id > "
            "coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'request'), 0) ORDER BY id"
        )
        newest = reader.query("SELECT max(at_ms) FROM (SELECT at_ms FROM decisions UNION SELECT at_ms FROM notices)")
        decided = reader.query("SELECT at_ms, slug, verdict FROM decisions ORDER BY seq DESC LIMIT 1")
        traded = reader.trades(1)
        differing = reader.query(
            "SELECT at_ms, what, market, ours_e6, theirs_e6 FROM differences WHERE at_ms > ? ORDER BY seq DESC LIMIT 3",
            (now_ms - DAY_MS,),
        )
        unsent = reader.query("SELECT count(*), min(at_ms) FROM notices WHERE sent_at_ms IS NULL")[0]
        told = reader.query("SELECT at_ms, kind, text FROM notices ORDER BY seq DESC LIMIT ?", (FEW,))
        today = sum((each.profit for each in reader.realised(now_ms - now_ms % DAY_MS)), ZERO)
    runs = in_use(path)
    if not stopped and (path.parent / STOP_FILE).exists():
        stopped = f"the file {STOP_FILE} exists"
    totals, copies = account.totals, copies_of(path)
    data = {
        "ledger": str(path),
        "running": runs,
        "stopped": stopped or None,
        "paused": (runs is not False and paused) or None,
        "asked": [{"kind": kind, "why": why, "at_ms": at} for kind, why, at in asked],
        "written_at_ms": newest[0][0],
        "profit": totals.profit,
        "profit_today": today,
        "fees": totals.fees,
        "drawdown": bend.drawdown,
        "won": totals.won,
        "lost": totals.lost,
        "losses_in_a_row": bend.streak,
        "trades": totals.fills,
        "last_trade_at_ms": traded[0].at_ms if traded else None,
        "positions": len(account.positions),
        "cost": sum((each.cost for each in account.positions.values()), ZERO),
        "unknown_orders": list(account.open),
        "unconfirmed_trades": list(account.claims),
        "last_decision": dict(zip(("at_ms", "slug", "verdict"), decided[0], strict=True)) if decided else None,
        "differences_of_a_day": [
            {"at_ms": at, "what": what, "market": market, "ours": from_e6(ours), "theirs": from_e6(theirs)}
            for at, what, market, ours, theirs in differing
        ],
        "notices_unsent": unsent[0],
        "last_notices": [{"at_ms": at, "kind": kind, "text": text} for at, kind, text in told],
        "newest_copy": copies[-1].name if copies else None,
    }
    return Answer(plain(data), _status_text(path, data, unsent[1], now_ms))


def _status_text(path: Path, data: Mapping[str, Any], unsent_since: int | None, now_ms: int) -> str:
    def since(at_ms: int | None) -> str:
        return "never" if at_ms is None else f"{ago((now_ms - at_ms) / 1000)} ago"

    runs = {True: "runs", False: "does not run", None: "this platform does not say whether it runs"}[data["running"]]
    last = data["last_decision"]
    rows = [
        ("ledger", str(path)),
        ("bot", f"{runs}; last written {since(data['written_at_ms'])}"),
        ("buying", next((f"{word}: {data[word.lower()]}" for word in STATES if data[word.lower()]), "allowed")),
        *(("asked for", f"{each['kind']}, {since(each['at_ms'])}: not taken up yet") for each in data["asked"]),
        ("profit", f"{money(data['profit'])} pUSD, today {money(data['profit_today'])} (UTC)"),
        ("fees, drawdown", f"{money(data['fees'])} pUSD, {money(data['drawdown'])} pUSD at worst"),
        ("settled", f"{data['won']} won, {data['lost']} lost; {data['losses_in_a_row']} losses in a row now"),
        ("trades", f"{data['trades']}, the last {since(data['last_trade_at_ms'])}"),
        ("positions", f"{data['positions']}, which cost {money(data['cost'])} pUSD"),
        ("fate unknown", ", ".join(data["unknown_orders"]) or "none"),
        ("not confirmed", ", ".join(data["unconfirmed_trades"]) or "none"),
        ("last decision", f"{last['verdict']}, {last['slug']}, {since(last['at_ms'])}" if last else "none"),
        *(
            (
                "DIFFERS",
                f"{each['what']}: {exact(each['ours'])}, the venue's {exact(each['theirs'])}, {since(each['at_ms'])}",
            )
            for each in data["differences_of_a_day"]
        ),
        (
            "notices",
            f"{data['notices_unsent']} unsent"
            + (f", since {ago((now_ms - unsent_since) / 1000)}" if unsent_since else ""),
        ),
        ("newest copy", data["newest_copy"] or "none yet"),
    ]
    lines = [facts(rows)]
    for each in reversed(data["last_notices"]):
        first, *more = wrapped(each["text"], 58) or [""]
        lines += [
            ("\n" if len(lines) == 1 else "") + f"{moment(each['at_ms'])}  {first}",
            *(" " * 21 + one for one in more),
        ]
    return "\n".join(lines)


def trades(path: Path, newest: int) -> Answer:
    """List orders that traded, or whose fate is unknown, the newest first, and what became of their positions."""
    with LedgerReader(path) as reader:
        found = reader.trades(newest)
        earned: dict[str, Decimal] = {}
        for end in reader.realised():
            earned[end.token] = earned.get(end.token, ZERO) + end.profit
        held = reader.account().positions
    rows, data = [], []
    for each in found:
        # What a position earned stands beside its newest trade, once it is over.
        profit = earned.pop(each.token, None) if each.token not in held else None
        price = each.money / each.shares if each.shares else None
        data.append(attrs.asdict(each) | {"price": price, "profit": profit})
        rows.append((
            moment(each.at_ms)[5:16], name_of(each.client_id), each.side, money(each.shares), money(price, 4),
            money(each.money + (each.fee if each.side == "BUY" else -each.fee)),
            each.outcome if each.final else f"{each.outcome}?", money(profit),
        ))  # fmt: skip
    heads = ("UTC", "market", "side", ">shares", ">price", ">pUSD", "fate", ">profit")
    note = "\n\npUSD: with the fee" + (
        "; ?: not confirmed yet, or not known" if any(not e.final for e in found) else ""
    )
    text = table(heads, rows, stretch=1) + note if rows else "no order has traded yet"
    return Answer({"trades": plain(data)}, text)


def positions(path: Path) -> Answer:
    """List what is held, and orders that may have bought more of it."""
    with LedgerReader(path) as reader:
        account, names = reader.account(), _names(reader)
    data = [
        attrs.asdict(each)
        | {
            "name": names.get(each.market, each.market),
            "price": each.cost / each.shares,
            "unconfirmed": [claim.begun.order.client_id for claim in account.claimed(each.token)],
        }
        for each in account.positions.values()
    ]
    rows = [
        (each["name"], middle_cut(each["token"], 14), money(each["shares"]), money(each["price"], 4),
         money(each["cost"]), "not yet" if each["unconfirmed"] else "yes")
        for each in data
    ]  # fmt: skip
    text = table(("market", "token", ">shares", ">price", ">cost", "confirmed"), rows) if rows else "nothing is held"
    if account.open:
        text += "\n\nfate unknown: " + "\n              ".join(map(harmless, account.open))
    return Answer({"positions": plain(data), "unknown_orders": list(account.open)}, text)


def pnl(path: Path, *, daily: bool, zone: str) -> Answer:
    """Say what was earned, with a curve; or day by day. Days are those of ``zone``."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BotError(f"{zone} is no time zone that is known here: UTC, or such as America/New_York") from error
    with LedgerReader(path) as reader:
        realised, bend, totals, days = reader.realised(), reader.curve(), reader.account().totals, reader.daily(zone)
    summed, points = ZERO, []
    for each in realised:
        summed += each.profit
        points.append((each.at_ms, summed))
    if daily:
        running, rows, data = ZERO, [], []
        for day, profit in days.items():
            running += profit
            data.append({"day": day, "profit": profit, "total": running})
            rows.append((day, money(profit), money(running)))
        text = table((f"day ({zone})", ">profit", ">total"), rows) if rows else "nothing has ended yet"
        return Answer({"zone": zone, "days": plain(data)}, text)
    values = {
        "profit": totals.profit, "fees": totals.fees, "won": totals.won, "lost": totals.lost,
        "drawdown": bend.drawdown, "losses_in_a_row": bend.streak, "longest_losses_in_a_row": bend.longest,
        "curve": [{"at_ms": at, "profit": profit} for at, profit in points],
    }  # fmt: skip
    text = facts([
        ("profit", f"{exact(totals.profit)} pUSD, after {exact(totals.fees)} pUSD of fees"),
        ("settled", f"{totals.won} won, {totals.lost} lost"),
        ("drawdown", f"{exact(bend.drawdown)} pUSD at worst"),
        ("losses in a row", f"{bend.streak} now, {bend.longest} at worst"),
    ])  # fmt: skip
    return Answer(
        plain(values), f"{text}\n\nprofit in pUSD, position by position\n{curve([each for _, each in points])}"
    )


def why(path: Path, market: str, newest: int) -> Answer:
    """Say what was decided in a market, named by its slug or condition id or a part of it, and on what grounds."""
    like = "%" + re.sub(r"([%_\\])", r"\\\1", market) + "%"
    with LedgerReader(path) as reader:
        named = reader.query(
            r"SELECT market, max(slug) FROM decisions WHERE market LIKE ? ESCAPE '\' OR slug LIKE ? ESCAPE '\' "
            "GROUP BY market ORDER BY max(seq) DESC",
            (like, like),
        )
        if not named:
            raise BotError(f"nothing was decided in a market like {market}: see 'status' for the last decision")
        if len(named) > 1:
            exact = [pair for pair in named if market in pair]
            if len(exact) != 1:
                names = ", ".join(slug or at for at, slug in named[:FEW]) + (", .." if named[FEW:] else "")
                raise BotError(f"{len(named)} markets are like that: {names}")
            named = exact
        id_, slug = named[0]
        # Decisions like one that was written were counted with the next: here they stand where they belong.
        rows = reader.query(
            "SELECT at_ms, verdict, detail, fair_e6, strike_e6, price_e6, oracle_age_ms, book_age_ms, proof, "
            "lead(repeats, 1, 0) OVER (PARTITION BY verdict, token ORDER BY seq) FROM decisions WHERE market = ? "
            "ORDER BY seq",
            (id_,),
        )
        orders = reader.query(
            "SELECT at_ms, client_id, side, coalesce(outcome, 'unknown'), coalesce(traded_e6, 0), "
            "coalesce(paid_e6, 0), coalesce(detail, '') FROM fates WHERE market = ? ORDER BY seq",
            (id_,),
        )
        ended = reader.query("SELECT at_ms, profit_e6, why FROM realised WHERE market = ? ORDER BY seq", (id_,))
    fields = ("at_ms", "verdict", "detail", "fair", "strike", "price", "oracle_age_ms", "book_age_ms", "proof", "more")
    decisions = []
    for row in rows:
        sums = [None if each is None else from_e6(each) for each in row[3:6]]
        decisions.append(dict(zip(fields, (*row[:3], *sums, *row[6:]), strict=True)))
    times: Counter[str] = Counter()
    for each in decisions:
        times[each["verdict"]] += 1 + each["more"]
    last = {each["verdict"]: each["at_ms"] for each in decisions}
    data = {
        "market": id_,
        "slug": slug,
        "verdicts": [{"verdict": word, "times": n, "last_at_ms": last[word]} for word, n in times.most_common()],
        "decisions": decisions[: -newest - 1 : -1],
        "orders": [
            {"at_ms": at, "client_id": name, "side": side, "outcome": fate, "shares": from_e6(shares),
             "money": from_e6(paid), "detail": detail}
            for at, name, side, fate, shares, paid, detail in orders
        ],
        "ended": [{"at_ms": at, "profit": from_e6(profit), "why": reason} for at, profit, reason in ended],
    }  # fmt: skip
    return Answer(plain(data), _why_text(data))


def _why_text(data: Mapping[str, Any]) -> str:
    parts = [f"{harmless(data['slug'])}\n{harmless(data['market'])}"]
    parts.append(
        table(
            ("verdict", ">times", "last (UTC)"),
            [(each["verdict"], str(each["times"]), moment(each["last_at_ms"])) for each in data["verdicts"]],
        )
    )
    lines = []
    for each in data["orders"]:
        lines.append(
            f"{moment(each['at_ms'])[5:]}  {each['side']}  {harmless(each['client_id'])}: {harmless(each['outcome'])}"
        )
        if each["shares"]:
            lines.append(" " * 16 + f"{money(each['shares'])} shares for {money(each['money'])} pUSD")
        elif each["detail"]:
            lines += [" " * 16 + line for line in wrapped(each["detail"], 64)]
    lines += [
        f"{moment(e['at_ms'])[5:]}  {harmless(e['why'])}: profit {money(e['profit'])} pUSD" for e in data["ended"]
    ]
    parts.append("\n".join(lines) or "no order was sent")
    lines = ["decisions, the newest first:"]
    for each in data["decisions"]:
        grounds = [
            *(f"{name} {exact(each[name])}" for name in ("fair", "strike", "price") if each[name] is not None),
            *(
                f"{name[:-7]} {each[name] / 1000:.2f} s"
                for name in ("oracle_age_ms", "book_age_ms")
                if each[name] is not None
            ),
            *([each["proof"]] if each["proof"] else []),
        ]
        more = f" (and {each['more']} more like it)" if each["more"] else ""
        lines.append(f"{moment(each['at_ms'])[5:]}  {harmless(each['verdict'])}{more}")
        for words in (", ".join(grounds), each["detail"]):
            lines += [" " * 16 + line for line in wrapped(words, 64)]
    parts.append("\n".join(lines))
    return "\n\n".join(parts)


# ---- Helpers -------------------------------------------------------------------------------------------


def name_of(client_id: str) -> str:
    """Return the slug in the name of an order: a number is added behind it."""
    return client_id.rpartition(".")[0] or client_id


def _last_of(reader: LedgerReader, begins: str, ends: str) -> str:
    """Return why something holds that one kind of risk event begins and another ends; empty while it does not."""
    sql = "SELECT kind, detail FROM risk_events WHERE kind IN (?, ?) ORDER BY seq DESC LIMIT 1"
    rows = reader.query(sql, (begins, ends))
    return (rows[0][1] or begins) if rows and rows[0][0] == begins else ""


def _names(reader: LedgerReader) -> dict[str, str]:
    return {
        market: name_of(name)
        for market, name in reader.query("SELECT market, max(client_id) FROM orders GROUP BY market")
    }


def plain(value: Any) -> Any:
    """Return JSON values: a Decimal as text, without trailing zeros."""
    if isinstance(value, Decimal):
        return exact(value)
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value
