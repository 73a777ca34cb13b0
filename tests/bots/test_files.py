"""The files of a bot among other users of the machine: what they may touch, plant or take away, and what is refused."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bots.common.errors import BotError
from bots.common.files import changed_by_others
from bots.common.ledger.database import Database, LedgerInUse, in_use
from bots.common.operate.asking import backup
from bots.oracle_lag.__main__ import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="owners and modes are looked at on POSIX alone")
as_root = pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="a second user takes root")
NOBODY = 65_534
ROOT = Path(__file__).parents[2]


@pytest.fixture
def place():
    """A folder that every user can reach, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="bot-files-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def as_nobody(*command):
    subprocess.run(command, check=True, user=NOBODY, group=NOBODY, cwd="/")  # noqa: S603 - our own


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o722, 0o1777])
def test_a_folder_that_others_may_write_to_is_refused_with_what_mends_it(tmp_path, bits):
    folder = tmp_path / "files"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(BotError, match=f"others may write to {folder}: .* chmod 700 {folder}"):
        Database.of(folder, "live", "0xabc")
    assert not list(folder.iterdir())
    folder.chmod(0o700)
    Database.of(folder, "live", "0xabc").close()


def test_a_folder_whose_parent_others_may_write_to_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(BotError, match=f"replace {tmp_path / 'files'}: chmod o-w {tmp_path}"):
        Database.of(tmp_path / "files", "live", "0xabc")
    tmp_path.chmod(0o1777)
    Database.of(tmp_path / "files", "live", "0xabc").close()


@as_root
def test_a_folder_of_another_user_is_refused_from_both_sides(place):
    theirs, ours = place / "theirs", place / "ours"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(BotError, match=f"belongs to user {NOBODY}: chown 0 {theirs}, or set another folder"):
        Database.of(theirs, "live", "0xabc")
    ours.mkdir(mode=0o755)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(BotError, match=f"belongs to user 0: chown {NOBODY} {ours}"):
            Database.of(ours, "live", "0xabc")
        Database.of(theirs, "live", "0xabc").close()
    finally:
        os.seteuid(0)


@as_root
@pytest.mark.parametrize("kind", ["-s", ""])
@pytest.mark.parametrize("name", ["live-0xabc.sqlite", "live-0xabc.sqlite-wal", "live-0xabc.sqlite-shm"])
def test_what_another_user_has_planted_is_found_also_once_the_folder_is_mended(place, name, kind):
    folder, victim = place / "files", place / "victim"
    folder.mkdir()
    folder.chmod(0o777)
    victim.write_text("precious")
    if kind:
        as_nobody("ln", "-s", str(victim), str(folder / name))
    else:
        # The kernel may forbid it to them: then it was there before.
        os.link(victim, folder / name)
    with pytest.raises(BotError, match="others may write"):
        Database.of(folder, "live", "0xabc")
    folder.chmod(0o700)
    with pytest.raises(BotError, match=f"is a link, or no file of ours: .* rm {folder / name}"):
        Database.of(folder, "live", "0xabc")
    assert victim.read_text() == "precious"


@as_root
def test_a_folder_behind_a_link_of_another_user_is_refused(place):
    place.chmod(0o1777)
    real = place / "real"
    real.mkdir(mode=0o700)
    as_nobody("ln", "-s", str(real), str(place / "files"))
    for folder in (place / "files", place / "files" / "deeper"):
        with pytest.raises(BotError, match=f"is a link of user {NOBODY}: rm {place / 'files'}"):
            Database.of(folder, "live", "0xabc")


def test_a_link_where_a_copy_is_made_is_replaced_and_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    database = Database(tmp_path / "files" / "bot.sqlite")
    for name in ("bot.copy-20260901.sqlite.new", "mine.sqlite.new"):
        (tmp_path / "files" / name).symlink_to(victim)
    copy = database.copy_of_day("20260901")
    backup(database.path, tmp_path / "files" / "mine.sqlite", 0)
    database.close()
    assert victim.read_text() == "precious"
    for path in (copy, tmp_path / "files" / "mine.sqlite"):
        assert not path.is_symlink()
        assert mode(path) == 0o600


def test_a_backup_goes_neither_behind_a_link_nor_where_others_may_exchange_it(tmp_path):
    database = Database(tmp_path / "files" / "bot.sqlite")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BotError, match="link exists"):
        backup(database.path, tmp_path / "link", 0)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(BotError, match=r"others may write to .*, or name another folder"):
        backup(database.path, tmp_path / "open", 0)
    assert not list((tmp_path / "open").iterdir())
    database.close()


def test_all_files_are_for_their_owner_alone_whatever_they_were_before(tmp_path):
    folder, umask = tmp_path / "files", os.umask(0)
    try:
        folder.mkdir(mode=0o755)
        for name in ("live-0xabc.sqlite", "live-0xabc.sqlite-journal"):
            (folder / name).touch(mode=0o666)
        database = Database.of(folder, "live", "0xabc")
        database.copy_of_day("20260901")
        backup(database.path, None, 0)
        assert {path.name: mode(path) for path in folder.iterdir() if mode(path) != 0o600} == {}
        assert len(list(folder.iterdir())) >= 5
        assert mode(folder) == 0o700
        database.close()
    finally:
        os.umask(umask)


def test_no_file_that_is_deleted_lets_a_second_bot_in(tmp_path):
    database = Database.of(tmp_path, "live", "0xabc")
    for path in tmp_path.iterdir():
        if path.suffix != ".sqlite":
            path.unlink()
            assert in_use(database.path)
            with pytest.raises(LedgerInUse):
                Database.of(tmp_path, "live", "0xabc")
    database.close()
    assert not in_use(tmp_path / "live-0xabc.sqlite")


@pytest.mark.parametrize("beside", [False, True])
def test_a_bot_whose_ledger_is_moved_away_begins_nothing_more(tmp_path, beside):
    database = Database.of(tmp_path, "live", "0xabc")
    row = ("INSERT INTO meta VALUES (?, 'x')", ("one",))
    database.write([row])
    database.path.rename(tmp_path / "away")
    second = Database.of(tmp_path, "live", "0xabc") if beside else None
    with pytest.raises(OSError, match="it was moved away"):
        database.write([("INSERT INTO meta VALUES (?, 'x')", ("two",))])
    database.close()
    if second is not None:
        second.write([row])
        second.close()


@pytest.mark.parametrize(
    ("bits", "told"), [(0o666, "go-w"), (0o620, "go-w"), (0o602, "go-w"), (0o644, ""), (0o600, "")]
)
def test_real_orders_heed_no_settings_that_others_may_change(tmp_path, bits, told, capsys):
    config = tmp_path / "bot.toml"
    config.write_text("confirm_live = 'no'")
    config.chmod(bits)
    assert main(["--live", "--config", str(config)]) == 2
    assert ("others may write to" in capsys.readouterr().err) is bool(told)
    assert (f"chmod {told} {config}" in changed_by_others(config)) is bool(told)


@as_root
def test_real_orders_heed_no_settings_of_another_user(place, capsys):
    config = place / "bot.toml"
    config.write_text("confirm_live = 'no'")
    os.chown(config, NOBODY, NOBODY)
    assert main(["--live", "--config", str(config)]) == 2
    assert f"belongs to user {NOBODY}: chown 0 {config}" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="what /proc and prctl tell")
def test_with_real_orders_no_memory_goes_into_a_file_or_to_another_program():
    script = (
        "import ctypes, resource\nfrom bots.oracle_lag.__main__ import main\n"
        "assert main(['--live']) == 2\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "(0, 0) 0"
