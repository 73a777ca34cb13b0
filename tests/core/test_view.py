from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from msgspec.structs import replace

from polymirror.core.level import Level
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import BookState, Reason
from polymirror.core.view import BookView
from polymirror.errors import ConfigError, NotLive, UnitError, UnknownToken
from tests.core.builders import Exchange, Rig, order_book

BIDS = [("0.40", "10"), ("0.45", "20"), ("0.48", "100")]
ASKS = [("0.60", "10"), ("0.55", "20"), ("0.52", "50.5")]


def view(bids=BIDS, asks=ASKS, proven_at=99.75):
    return BookView(
        token="11", market="0xm",
        state=BookState.LIVE, reason=Reason.PROVEN, epoch=1, doubts=0, settled=True, exchange_ms=5,
        apply_lag=0.01, clock_uncertainty=None, read_at=100.0, proven_at=proven_at,
        last_proof=Proof(ProofKind.HASH, 99.75, 1), tick_size_e4=100,
        levels=order_book(bids, asks).levels(),
    )  # fmt: skip


def test_levels_come_best_first():
    assert view().bids == (Level(4800, 100_000_000), Level(4500, 20_000_000), Level(4000, 10_000_000))
    assert view().asks == (Level(5200, 50_500_000), Level(5500, 20_000_000), Level(6000, 10_000_000))


def test_a_level_reads_as_decimals_raw_ints_and_text():
    level = view().best_ask
    price, size = level
    assert (price, size) == (level.price, level.size) == (Decimal("0.52"), Decimal("50.5"))
    assert (level.price_e4, level.size_e6) == (5200, 50_500_000)
    assert (str(level), str(price), str(size)) == ("0.52 x 50.5", "0.52", "50.5")


def test_levels_are_ordered_by_price_then_size_and_never_change():
    assert sorted(view().bids) == list(reversed(view().bids))
    assert Level(4800, 1) < Level(4800, 2) < Level(4801, 1)
    with pytest.raises(AttributeError):
        view().best_bid.price_e4 = 1


def test_what_a_stranger_compares_is_true_when_it_should_be():
    book = view()
    assert book.spread < Decimal("0.045")
    assert book.best_bid.price < Decimal("0.5") < book.best_ask.price
    assert book.best_ask.size > 50
    assert book.tick_size == Decimal("0.01")
    assert [price * size for price, size in book.bids] == [48, 9, 4]
    assert view().ask_depth(book.best_ask.price + 3 * book.tick_size) == Decimal("70.5")


def test_the_top_and_what_follows_from_it():
    top = view()
    assert (top.best_bid, top.best_ask) == (Level(4800, 100_000_000), Level(5200, 50_500_000))
    assert (top.spread, top.spread_e4) == (Decimal("0.04"), 400)
    assert top.mid == Decimal("0.5")
    weighted = (Decimal("0.48") * Decimal("50.5") + Decimal("0.52") * 100) / Decimal("150.5")
    assert top.microprice == pytest.approx(weighted)
    assert Decimal("0.48") < top.microprice < Decimal("0.52")


def test_a_mid_between_two_units_is_exact():
    assert view([("0.4801", "1")], [("0.4802", "1")]).mid == Decimal("0.48015")


@pytest.mark.parametrize(("bids", "asks"), [([], ASKS), (BIDS, []), ([], [])])
def test_an_empty_side_has_no_top_and_nothing_follows(bids, asks):
    empty = view(bids, asks)
    assert (empty.best_bid is None) is not bids
    assert (empty.best_ask is None) is not asks
    assert (empty.spread, empty.spread_e4, empty.mid, empty.microprice) == (None, None, None, None)


def test_a_tick_that_was_not_told_is_none():
    assert replace(view(), tick_size_e4=None).tick_size is None


def test_depth_counts_up_to_and_including_a_price():
    assert view().bid_depth("0.45") == 120
    assert view().bid_depth(Decimal("0.4501")) == 100
    assert view().ask_depth(Decimal("0.55")) == Decimal("70.5")
    assert view().ask_depth("0.5199") == 0
    assert (view().bid_depth(0), view().ask_depth(1)) == (130, Decimal("80.5"))


def test_depth_to_a_price_between_two_units_counts_what_is_really_there():
    assert view().bid_depth("0.48000000001") == 0
    assert view().bid_depth("0.47999999999") == 100
    assert view().ask_depth("0.51999999999") == 0
    assert view().ask_depth(Decimal("0.52") + Decimal("1e-40")) == Decimal("50.5")


def test_depth_in_raw_ints_says_the_same():
    assert view().bid_depth_e6(4500) == 120_000_000
    assert view().bid_depth_e6(4501) == 100_000_000
    assert view().ask_depth_e6(5500) == 70_500_000
    assert view().ask_depth_e6(5199) == 0


@pytest.mark.parametrize("side", ["bid_depth", "ask_depth"])
@pytest.mark.parametrize(
    "price", [0.6, True, 6000, -1, "-0.1", "1.0001", "x", Decimal("NaN"), Decimal("sNaN"), "Infinity", None]
)
def test_a_depth_to_what_is_no_price_is_refused(side, price):
    with pytest.raises(UnitError, match="it must be a price from 0 to 1 pUSD, as a Decimal, int or str"):
        getattr(view(), side)(price)


@pytest.mark.parametrize("side", ["bid_depth_e6", "ask_depth_e6"])
@pytest.mark.parametrize("price", [0.6, Decimal("0.6"), True, "6000", -1, 10_001])
def test_a_raw_depth_to_what_is_no_raw_price_is_refused(side, price):
    with pytest.raises(UnitError, match="it must be a whole number from 0 to 10000, in 1/10000 of a pUSD"):
        getattr(view(), side)(price)


def test_the_best_levels_of_both_sides_come_best_first():
    bids, asks = view().top(2)
    assert (bids, asks) == (view().bids[:2], view().asks[:2])
    assert view().top(99) == (view().bids, view().asks)
    assert view([], []).top(1) == ((), ())


@pytest.mark.parametrize("count", [0, -1, 1.0, "3", True, None])
def test_a_number_of_levels_that_is_none_is_refused(count):
    with pytest.raises(ConfigError, match=r"levels=.* is not allowed: it must be a whole number of at least 1"):
        view().top(count)


def test_buying_shares_walks_the_asks():
    fill = view().cost_to_buy(60)
    assert (fill.shares, fill.unfilled, fill.complete) == (60, 0, True)
    assert fill.money == Decimal("50.5") * Decimal("0.52") + Decimal("9.5") * Decimal("0.55")
    assert fill.worst == Decimal("0.55")
    assert fill.average == fill.money / 60


def test_what_is_not_there_is_said():
    fill = view().cost_to_buy("100")
    assert (fill.shares, fill.unfilled, fill.complete) == (Decimal("80.5"), Decimal("19.5"), False)
    assert fill.worst == Decimal("0.6")


def test_selling_shares_walks_the_bids():
    fill = view().proceeds_of_selling(Decimal(110))
    assert fill.money == 100 * Decimal("0.48") + 10 * Decimal("0.45")
    assert fill.worst == Decimal("0.45")


def test_exactly_one_level_does_not_touch_the_next():
    assert view().cost_to_buy("50.5").worst == Decimal("0.52")
    assert view().buy_with("26.26").worst == Decimal("0.52")


def test_an_amount_of_money_walks_the_levels():
    fill = view().buy_with("37.26")
    assert (fill.shares, fill.money, fill.unfilled) == (Decimal("70.5"), Decimal("37.26"), 0)
    assert fill.worst == Decimal("0.55")
    sold = view().sell_for(24)
    assert (sold.shares, sold.money, sold.worst) == (50, 24, Decimal("0.48"))


def test_money_that_is_too_much_or_too_little_is_left():
    assert view().buy_with(1000).unfilled == 1000 - Decimal("26.26") - 11 - 6
    dust = view().buy_with("0.0000005")
    assert (dust.shares, dust.unfilled, dust.worst) == (0, Decimal("0.0000005"), None)
    rest = view([], [("0.3", "10")]).buy_with("1")
    assert (rest.shares, rest.unfilled) == (Decimal("3.333333"), Decimal("0.0000001"))


def test_nothing_asked_or_nothing_there_gives_an_empty_fill():
    for fill in (view().cost_to_buy(0), view([], []).cost_to_buy(5), view([], []).sell_for(5), view().buy_with(0)):
        assert (fill.shares, fill.money, fill.worst, fill.average) == (0, 0, None, None)


@pytest.mark.parametrize("call", ["cost_to_buy", "proceeds_of_selling", "buy_with", "sell_for"])
@pytest.mark.parametrize("amount", [1.5, -1, "NaN", True])
def test_floats_and_negatives_are_refused(call, amount):
    with pytest.raises(UnitError):
        getattr(view(), call)(amount)


def test_figures_do_not_depend_on_the_callers_decimal_context():
    before = view().microprice, view().cost_to_buy(60).average
    with localcontext() as context:
        context.prec = 3
        assert (view().microprice, view().cost_to_buy(60).average) == before


def test_a_view_shows_what_it_is_and_not_all_its_levels():
    text = repr(view())
    assert text.startswith("BookView(token=")
    assert "epoch=" in text
    assert "levels" not in text


def test_a_view_cannot_be_changed():
    with pytest.raises(AttributeError):
        view().epoch = 2


def test_the_age_of_the_proof_is_never_negative_and_infinite_without_one():
    assert view().verified_age == 0.25
    assert view(proven_at=101.0).verified_age == 0.0
    assert view(proven_at=None).verified_age == float("inf")


def test_a_view_reads_as_one_line():
    assert str(view()) == "0.48 x 100 | 0.52 x 50.5 (LIVE, proven 250.0 ms ago)"
    assert str(view([], [], None)) == "no bid | no ask (LIVE, proven never)"


# ---- The top alone -------------------------------------------------------------------------------------


def test_the_top_is_granted_when_the_book_is_and_says_the_same(rig, exchange):
    for size in ("5", "6", "0"):
        rig.send(exchange.change("BUY", "0.47", size))
        for token in exchange.tokens:
            view, top = rig.live_view(token), rig.engine.top(token, rig.now)
            assert (top.best_bid, top.best_ask) == (view.best_bid, view.best_ask)
            assert (top.epoch, top.doubts, top.settled) == (view.epoch, view.doubts, view.settled)
            assert (top.exchange_ms, top.verified_age) == (view.exchange_ms, view.verified_age)
            assert str(top) in str(view).replace("LIVE, ", "")


def test_the_top_of_a_state_that_is_not_the_newest_is_its_own(rig, exchange):
    before = rig.engine.top("11", rig.now)
    exchange.alter("BUY", "0.20", "9")
    rig.send(exchange.message(exchange.entries("BUY", "0.51", "7")))
    top = rig.engine.top("11", rig.now)
    assert not top.settled
    assert (top.best_bid, top.best_ask) == (before.best_bid, before.best_ask)
    assert rig.token("11").proven.book.bids.keys[-1] == 5100


def test_the_top_is_refused_when_the_book_is(rig):
    rig.advance(1)
    with pytest.raises(NotLive, match="STALE"):
        rig.engine.top("11", rig.now, 0.25)
    assert rig.engine.status(rig.now).tokens[0].refused_reads == 1
    rig.disconnect()
    with pytest.raises(NotLive, match="DISCONNECT"):
        rig.engine.top("11", rig.now)
    with pytest.raises(UnknownToken):
        rig.engine.top("99", rig.now)


def test_an_empty_side_has_no_top():
    rig = Rig.live(Exchange(bids=(), asks=()))
    top = rig.engine.top("11", rig.now)
    assert (top.best_bid, top.best_ask) == (None, None)
    assert str(top) == "no bid | no ask (proven 0.0 ms ago)"
