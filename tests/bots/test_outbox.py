"""The outbox: never in the way, never too fast, nothing lost, whatever Telegram, the disk or the process does."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from bots.common.ledger.database import Database
from bots.common.ledger.ledger import Ledger
from bots.common.operate import outbox as outbox_module
from bots.common.operate.notifications import Telegram
from bots.common.operate.outbox import Outbox
from bots.common.secrets import Secret
from bots.testing.telegram import DEFAULT_TOKEN, TelegramFaults, TelegramService
from polymirror.simulator.frames import Answer
from polymirror.simulator.virtual.loop import run_virtual
from polymirror.venue.network import Network
from tests.bots.service_rig import Services

CHAT = "4242"
WRONG = "1234567890:WRONG-TOKEN-OF-SOMEBODY-ELSE-000000000"


def now():
    return asyncio.get_running_loop().time()


class Broken(Database):
    """A ledger whose disk takes nothing while it is broken."""

    broken = False

    def write(self, statements):
        if self.broken:
            raise OSError(28, "No space left on device")
        super().write(statements)


def play(act, service=None, *, down=0.0, token=DEFAULT_TOKEN, store=None, until=600.0, look_on=lambda _text: None):
    """Run an outbox in virtual time, let ``act`` use it; return it, the service, and what carried the calls."""
    service = TelegramService() if service is None else service
    rig = Services([service])
    store = Broken() if store is None else store

    async def main():
        rig.down = now() + down
        loop = asyncio.get_running_loop()
        ledger = Ledger(store, Network(monotonic=loop.time, wall=loop.wall))
        await ledger.open()
        box = Outbox(ledger, rig.network(), Telegram(Secret(token), CHAT, rig.network()), look_on)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(box.run()), group.create_task(ledger.run())]
            await act(box)
            await box.drain(until)
            for task in tasks:
                task.cancel()
        if not store.broken:
            await ledger.flush()
        return box, service, rig

    return run_virtual(main)


def saying(*texts):
    async def act(box):
        for text in texts:
            box.notify(text)

    return act


def texts(service):
    return [message.text for message in service.messages]


def lines(service):
    return "\n".join(texts(service)).split("\n")


def kept(store):
    return store.read("SELECT kind, text, sent_at_ms IS NOT NULL, tries FROM notices ORDER BY seq")


def test_a_notice_is_kept_sent_and_marked():
    store = Broken()

    async def act(box):
        box.notify("bought 10 at 0.6", "fill")

    box, service, rig = play(act, store=store)
    assert texts(service) == ["bought 10 at 0.6"]
    assert kept(store) == [("fill", "bought 10 at 0.6", 1, 1)]
    assert rig.hosts == {"api.telegram.org"}
    assert str(box.vital()) == "notices: all sent"


def test_notices_that_wait_together_travel_together_and_in_order():
    _, service, _ = play(saying(*"abc"))
    assert texts(service) == ["a\nb\nc"]


def test_messages_keep_their_distance_however_fast_the_notices_come():
    async def act(box):
        for number in range(50):
            box.notify(f"{number} " + "x" * 2_000)
            await asyncio.sleep(0.3)

    _, service, _ = play(act)
    assert service.refused == 0
    times = [message.at_ms for message in service.messages]
    assert min(after - before for before, after in itertools.pairwise(times)) >= 1_000
    assert [line.split()[0] for line in lines(service)] == [str(number) for number in range(50)]


def test_a_notice_never_waits():
    async def act(box):
        before = now()
        for number in range(100):
            box.notify(f"{number}")
        assert now() == before

    play(act, down=30)


def test_a_429_is_waited_out_as_long_as_it_asks():
    service = TelegramService(faults=TelegramFaults(busy=1.0, retry_after=7))

    async def act(box):
        box.notify("x")
        await asyncio.sleep(20)
        service.faults = TelegramFaults()
        await asyncio.sleep(5)

    _, _, rig = play(act, service)
    assert texts(service) == ["x"]
    assert rig.tried == 4


@pytest.mark.parametrize("name", ["error", "silent", "garbage"])
def test_what_fails_now_and_then_arrives_all_the_same(name):
    service = TelegramService(faults=TelegramFaults(**{name: 0.5}), seed=1)

    async def act(box):
        for number in range(20):
            box.notify(str(number))
            await asyncio.sleep(30)

    play(act, service)
    assert [line.rpartition(" ")[2] for line in lines(service)] == [str(number) for number in range(20)]


def test_a_lost_answer_may_repeat_a_notice_but_never_loses_one():
    service = TelegramService(faults=TelegramFaults(lost=0.5), seed=1)
    play(saying("x"), service)
    assert set(texts(service)) == {"x"}


def test_an_outage_of_six_hours_loses_nothing_and_is_noticed(caplog):
    bad = []

    async def act(box):
        for number in range(72):
            box.notify(str(number))
            await asyncio.sleep(300)
            bad.append(not box.vital().ok)
        await asyncio.sleep(600)
        assert box.vital().ok

    store = Broken()
    _, service, rig = play(act, down=6 * 3_600, store=store)
    assert [line.rpartition(" ")[2] for line in lines(service)] == [str(number) for number in range(72)]
    assert texts(service)[0].startswith("("), "one that is old says when it was written"
    assert bad[2:] == [True] * 70
    assert rig.tried < 120, "the waits grow"
    assert all(sent for _, _, sent, _ in kept(store))
    assert "arrive again" in caplog.text


def test_what_a_process_could_not_send_the_next_one_does():
    store = Broken()
    box, service, _ = play(saying("stopped: a vital task failed"), down=10_000, until=30, store=store)
    assert texts(service) == []
    assert "no answer" in box.trouble
    assert kept(store)[0][2] == 0
    _, service, _ = play(saying("started"), store=store)
    assert lines(service) == ["stopped: a vital task failed", "started"]
    assert [sent for _, _, sent, _ in kept(store)] == [1, 1]
    _, service, _ = play(saying(), store=store)
    assert texts(service) == []


def test_a_disk_that_fails_delays_no_notice():
    store = Broken()
    store.broken = True
    _, service, _ = play(saying("the disk is full"), store=store)
    assert texts(service) == ["the disk is full"]


def test_more_than_memory_holds_comes_from_the_ledger(monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_KEPT", 10)
    _, service, _ = play(saying(*map(str, range(45))), down=20)
    assert lines(service) == [str(number) for number in range(45)]


def test_a_text_that_is_never_taken_keeps_no_other_from_arriving():
    class Picky(TelegramService):
        def answer(self, call, now_ms):
            if b"poison" in call.body:
                return Answer(400, '{"ok": false, "description": "Bad Request: nobody knows"}')
            return TelegramService.answer(self, call, now_ms)

    service = Picky()

    async def act(box):
        box.notify("poison")
        for number in range(60):
            box.notify(f"{number} " + "x" * 3_000)
        await asyncio.sleep(3_600)

    play(act, service, until=1)
    assert len(texts(service)) == 60


def test_a_wrong_token_is_tried_seldom_and_named():
    async def act(box):
        box.notify("a")
        await asyncio.sleep(3_600)
        assert not box.vital().ok
        assert "HTTP 401" in str(box.vital())

    _, service, rig = play(act, token=WRONG, until=1)
    assert texts(service) == []
    assert rig.tried < 30


def test_a_drain_tries_at_once_and_gives_up_when_its_time_is_over(caplog):
    async def act(box):
        box.notify("x")
        await asyncio.sleep(1_000)
        before = rigs[0].tried
        await box.drain(3.0)
        assert rigs[0].tried > before

    rigs = []
    original = Services.network

    def remember(self):
        rigs.append(self)
        return original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Services, "network", remember)
        play(act, down=10_000, until=3.0)
    assert "1 notices were not sent within 3 s" in caplog.text


def test_without_a_chat_whoever_looks_on_is_told_and_nothing_waits():
    async def main():
        loop = asyncio.get_running_loop()
        network = Network(monotonic=loop.time, wall=loop.wall)
        store, seen = Database(), []
        ledger = Ledger(store, network)
        await ledger.open()
        box = Outbox(ledger, network, None, seen.append)
        box.notify("won 4 pUSD", "settlement")
        await box.run()
        await box.drain(10)
        await ledger.flush()
        assert seen == ["won 4 pUSD"]
        assert kept(store) == [("settlement", "won 4 pUSD", 1, 1)]

    run_virtual(main)


def test_a_terminal_that_is_gone_is_no_trouble():
    def gone(_text):
        raise BrokenPipeError

    _, service, _ = play(saying("x"), look_on=gone)
    assert texts(service) == ["x"]
