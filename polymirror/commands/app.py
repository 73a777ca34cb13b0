"""The command line's commands and options, and what becomes of errors: one line each.

Options only; each command's work is in its own module and imported when it is asked for, so that
``polymirror --help`` answers at once. Run by :func:`polymirror.cli.main`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from polymirror.commands.helping import Command, Group
from polymirror.commands.options import (
    SOAK,
    WHO,
    Clob,
    Gamma,
    Json,
    Plain,
    Seed,
    Stream,
    Venue,
    choose_endpoints,
)
from polymirror.commands.output import complain, flush_output, is_output, lose_output
from polymirror.commands.recording import journal, record, replay
from polymirror.commands.relaying import relay
from polymirror.errors import ConfigError, PolymirrorError

if TYPE_CHECKING:
    from collections.abc import Sequence


INTERRUPTED: Final = 130

PAGE = "Its status over HTTP"
DEFAULT_PAGE = "http://127.0.0.1:8080"

app: typer.Typer = typer.Typer(
    name="polymirror",
    help="Polymarket's order books in your process, proven right or refused.",
    cls=Group,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    # Joins the lines of a paragraph.
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _fault_ids(incomplete: str) -> list[str]:
    """Complete the id of a fault on a shell's command line."""
    from polymirror.commands.faults import all_faults  # noqa: PLC0415 - startup

    return [fault["id"] for fault in all_faults() if fault["id"].startswith(incomplete)]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of  # noqa: PLC0415 - startup

        typer.echo(f"polymirror {version_of('polymirror')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(cls=Command)
def demo(
    *,
    seconds: Annotated[float, typer.Option(metavar="SECONDS", min=1, max=86_400, help="How long to run.")] = 30.0,
    seed: Seed = None,
    tokens: Annotated[
        int, typer.Option(metavar="BOOKS", min=2, max=200, help="How many books; two for each market.")
    ] = 6,
    json: Json = False,
) -> None:
    """Watch books lose and regain trust: an embedded exchange, a mirror on it, and faults in between.

    No account and no network. Every book is read all the time, and each granted read is compared with what the
    exchange knows to be true. Exits with 1 if one was wrong, or if a book had not recovered at the end.
    """
    from polymirror.commands.demo import run_demo  # noqa: PLC0415 - startup

    raise typer.Exit(run_demo(seconds=seconds, seed=seed, tokens=tokens, json=json))


@app.command(cls=Command)
def watch(
    what: Annotated[
        list[str], typer.Argument(metavar="SLUG|TOKEN", help="Market slugs or pages, or token ids (digits).")
    ],
    *,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Stop after this long. [default: Ctrl-C]")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the books once they are LIVE, and stop.")] = False,
    book: Annotated[
        str | None, typer.Option(metavar="BOOK", help="Show one book's depth: a token id, or a name such as 'up'.")
    ] = None,
    incidents: Annotated[
        str | None, typer.Option(metavar="DIR", help="Keep what led to losses of trust there, for 'explain'.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, as things happen.")] = False,
    http: Annotated[
        str | None,
        typer.Option(metavar="[HOST:]PORT", help="Serve the status there, with a page.", rich_help_panel=PAGE),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of that server; may be repeated.", rich_help_panel=PAGE),
    ] = None,
    venue: Venue = None,
    stream: Stream = None,
    clob: Clob = None,
    gamma: Gamma = None,
    allow_plain: Plain = False,
) -> None:
    """Mirror markets of the real venue and show their books.

    On a terminal the arrows scroll, / finds, s sorts, b shows the depth of one book and n the next one's, q ends it. On
    a pipe each change of a state is a line.
    """
    from polymirror.commands.watch import run_watch  # noqa: PLC0415 - startup

    endpoints = choose_endpoints(venue, stream, clob, gamma, allow_plain=allow_plain)
    code = run_watch(
        what, endpoints, seconds=seconds, once=once, json=json, book=book,
        http=http, names=allow_host or (), incidents=incidents,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command(cls=Command)
def top(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where a mirror serves its status.")] = DEFAULT_PAGE,
    *,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Stop after this long. [default: Ctrl-C]")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the books as they are, and stop.")] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.5, max=3_600, help="Between two snapshots on a pipe.")
    ] = 5.0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a snapshot.")] = False,
) -> None:
    """Look at a mirror that runs elsewhere: a bot's, or one of 'watch --http'.

    On a terminal the keys are those of 'watch', on a pipe it prints snapshots. With --once it exits with 1 if a book is
    not LIVE.
    """
    from polymirror.commands.top import run_top  # noqa: PLC0415 - startup

    raise typer.Exit(run_top(url, seconds=seconds, once=once, every=every, json=json))


app.command(cls=Command)(record)
app.add_typer(journal)
app.command(cls=Command)(replay)
app.command(cls=Command)(relay)


@app.command(cls=Command)
def explain(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A file that a mirror wrote about an incident.")],
    *,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write one page of HTML to a new file, too.")] = None,
    json: Json = False,
) -> None:
    """Say in words why a book lost trust: what was first wrong, which levels differed, and what healed it.

    The bundle is read again without the engine that wrote it: books are followed from whole ones, and every hash and
    every answer of REST is held against them.
    """
    from polymirror.commands.explain import run_explain  # noqa: PLC0415 - startup

    raise typer.Exit(run_explain(bundle, json=json, html=html))


@app.command(cls=Command)
def doctor(
    slugs: Annotated[
        list[str] | None,
        typer.Argument(metavar="SLUG", help="Markets to check with; without any, those that trade now."),
    ] = None,
    *,
    json: Json = False,
    venue: Venue = None,
    stream: Stream = None,
    clob: Clob = None,
    gamma: Gamma = None,
    allow_plain: Plain = False,
) -> None:
    """Check what a mirror needs: the venue's endpoints, your clock, this Python, and the venue's hash.

    Exits with 1 if something is not ok, and says what to do about it.
    """
    from polymirror.commands.doctor import run_doctor  # noqa: PLC0415 - startup

    endpoints = choose_endpoints(venue, stream, clob, gamma, allow_plain=allow_plain)
    raise typer.Exit(run_doctor(endpoints, slugs or (), json=json))


@app.command(cls=Command)
def serve(
    *,
    port: Annotated[int, typer.Option(metavar="NUMBER", min=0, max=65_535, help="The port; 0 for any free one.")] = 0,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Listen there; other than loopback, anybody can trade.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name by which clients may call it; may be repeated."),
    ] = None,
    seed: Seed = None,
    markets: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, max=1_000, help="How many markets trade. [default: 1]")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            min=0.001,
            max=1_000,
            help="Batches a second in each market. [default: 20, with --rounds 1]",
        ),
    ] = None,
    rounds: Annotated[
        list[str] | None,
        typer.Option(metavar="LENGTH", help="Rolling up/down markets: 5m, 15m or 1h; may be repeated."),
    ] = None,
    asset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An asset with rounds; may be repeated. [default: btc eth sol xrp]"),
    ] = None,
    pairs: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            max=1_000_000,
            help="Markets of many kinds in which a pair costs less than a dollar for a moment, so often in each.",
        ),
    ] = None,
    accounts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Accounts as JSON, instead of made-up ones.", rich_help_panel=WHO)
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--count", metavar="NUMBER", min=0, max=100, help="How many accounts to make up.", rich_help_panel=WHO
        ),
    ] = 1,
    cash: Annotated[
        str, typer.Option(metavar="PUSD", help="What each account begins with.", rich_help_panel=WHO)
    ] = "1000",
    delay: Annotated[
        int,
        typer.Option(
            metavar="MS", min=0, max=60_000, help="Milliseconds that taking orders are held back.", rich_help_panel=WHO
        ),
    ] = 250,
    settle: Annotated[
        int,
        typer.Option(
            metavar="MS", min=0, max=3_600_000, help="Milliseconds from a match to CONFIRMED.", rich_help_panel=WHO
        ),
    ] = 2_000,
    lag: Annotated[
        int,
        typer.Option(
            metavar="MS", min=0, max=600_000, help="Milliseconds that look-ups are behind.", rich_help_panel=WHO
        ),
    ] = 0,
    key_life: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, max=86_400, help="Seconds until keys are refused; 0: never.", rich_help_panel=WHO
        ),
    ] = 0.0,
    redeem_after: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, max=3_600, help="Seconds for which redeeming is refused.", rich_help_panel=WHO
        ),
    ] = 0.0,
    blocked: Annotated[
        bool, typer.Option("--blocked", help="The geoblock says no, and orders are refused.", rich_help_panel=WHO)
    ] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            autocompletion=_fault_ids,
            help="What goes wrong now and then, by an id that 'faults' lists; may be repeated.",
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.1, help="Stop after this long. [default: Ctrl-C]")
    ] = None,
    details: Annotated[bool, typer.Option("--list", help="Tell each market's condition and tokens, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object when it is ready, nothing else.")] = False,
) -> None:
    """Serve the simulated exchange, for bots in any language: books, discovery, orders, prices.

    GET /simulator lists everything that is served.
    """
    from polymirror.commands.serve import ServeOptions, run_serve  # noqa: PLC0415 - startup

    options = ServeOptions(
        host=host, port=port, names=tuple(allow_host or ()), seed=seed, markets=markets, rate=rate,
        rounds=tuple(rounds or ()), assets=tuple(asset or ()), pairs=pairs, accounts=accounts, account_count=count,
        cash=cash, delay_ms=delay, settle_ms=settle, lag_ms=lag, key_life_s=key_life, redeem_after_s=redeem_after,
        blocked=blocked, faults=tuple(fault or ()), seconds=seconds, json=json, details=details,
    )  # fmt: skip
    raise typer.Exit(run_serve(options))


@app.command(cls=Command)
def torture(
    *,
    seeds: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, max=1_000_000, help="How many seeds to run. [default: 20]")
    ] = None,
    start: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=0, max=2**31, help="The first seed. [default: 0]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=1, max=1_440, help="Virtual time of each seed. [default: 10]")
    ] = None,
    tokens: Annotated[
        int, typer.Option(metavar="BOOKS", min=2, max=2_000, help="How many books; two for each market.")
    ] = 20,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", autocompletion=_fault_ids, help="Only these faults; may be repeated. [default: all]"
        ),
    ] = None,
    hedge: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, max=2, help="Connections of each socket. [default: 1]")
    ] = None,
    relay: Annotated[
        Literal["socket", "broker", "both"] | None,
        typer.Option(metavar="WAY", help="Read at the far end of a relay: socket, broker or both. [default: none]"),
    ] = None,
    sockets: Annotated[
        bool, typer.Option("--sockets", help="Use real sockets on loopback, in real time.", rich_help_panel=SOAK)
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=2, max=86_400, help="How long. [default: 60]", rich_help_panel=SOAK),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", min=0, max=2**32 - 1, help="What goes wrong. [default: drawn]", rich_help_panel=SOAK
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Run fault storms under a virtual clock and check every promise.

    One seed decides everything, on every machine. Exits with 1 if a promise was broken, after showing the seed, the
    faults that matter and what led to it.

    With --sockets the whole mirror runs against the simulated exchange through proxies that do to real connections
    what networks do; what is left behind is looked for, too.
    """
    from polymirror.simulator.faults.catalogue import check_ids  # noqa: PLC0415 - startup

    only = tuple(fault or ())
    check_ids(only, over_sockets=sockets, field="--fault")
    if sockets:
        _refuse_options("without", seeds=seeds, start=start, minutes=minutes, hedge=hedge, relay=relay)
        from polymirror.commands.soak import run_soak  # noqa: PLC0415 - startup

        raise typer.Exit(run_soak(seconds=seconds or 60.0, seed=seed, tokens=tokens, faults=only, json=json))
    _refuse_options("with", seconds=seconds, seed=seed)
    from polymirror.commands.torture import run_torture  # noqa: PLC0415 - startup

    code = run_torture(
        seeds=seeds or 20, start=start or 0, minutes=minutes or 10.0, tokens=tokens, faults=only, hedge=hedge or 1,
        relay=relay or "", json=json,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command(cls=Command)
def faults(
    word: Annotated[
        str | None, typer.Argument(metavar="WORD", help="Only those with this word in their id or what they do.")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """List what can be made to go wrong, by the ids that --fault takes, and where each was seen."""
    from polymirror.commands.faults import run_faults  # noqa: PLC0415 - startup

    raise typer.Exit(run_faults(word, json=json))


def _refuse_options(word: str, **options: float | str | None) -> None:
    """Refuse options of the other mode: one that does nothing would mislead."""
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"--{name}", value, f"given only {word} --sockets")


def run(arguments: Sequence[str]) -> int:
    """Run one command; every mistake is one line on standard error. Returns the exit code."""
    code = _run(arguments)
    return flush_output() or code


def _run(arguments: Sequence[str]) -> int:
    # Click's own base of all mistakes in options, wherever this version of typer keeps it.
    usage_error: type[Exception] = typer.BadParameter.__mro__[2]
    try:
        code = app(list(arguments), prog_name="polymirror", standalone_mode=False)
    except usage_error as error:
        return complain(_usage(error))
    except (PolymirrorError, OSError) as error:
        return _tell(error)
    except ExceptionGroup as group:
        # A failed task comes wrapped in the group it ran in, perhaps several times.
        if group.split(_is_told)[1] is not None:
            raise
        return _tell(_first(group))
    except SystemExit as ended:
        # What parses our options, and what draws its help, would end the process without a word for a closed pipe.
        if not isinstance(ended.__context__, OSError):
            raise
        return _tell(ended.__context__)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _is_told(error: BaseException) -> bool:
    return isinstance(error, PolymirrorError) or is_output(error)


def _tell(error: BaseException) -> int:
    if isinstance(error, OSError) and is_output(error):
        return lose_output(error)
    if not isinstance(error, PolymirrorError):
        raise error
    return complain(str(error))


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def _usage(error: BaseException) -> str:
    message = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    command = "polymirror" if context is None else context.command_path
    return f"{message.rstrip('.')} (see '{command} --help')"
