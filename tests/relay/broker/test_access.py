"""Who we are to a NATS server: let in, or told once and clearly why not, and no secret is shown to anybody."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING

import nkeys
import pytest

from polymirror import NatsConfig, RemoteConfig, Warned
from polymirror.relay.broker.connection import Lost, connected
from polymirror.relay.remote import RemoteMirror
from polymirror.simulator import Simulator
from tests.loopback import PATIENCE, mirror_of, turns_until
from tests.relay.broker.server import PAGE, Listening, nats, with_nats
from tests.test_docs import blocks_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

RIGHT, WRONG = "canary-right-77ad", "canary-wrong-e02b"

USERS = next(block.text for block in blocks_of(PAGE) if "authorization" in block.text).replace("SECRET", RIGHT)
"""What the page says that each side needs."""

NOBODY = f'{{ user: nobody, password: "{RIGHT}", permissions: {{ publish: "other", subscribe: "other" }} }}'


def as_user(user: str, password: str = RIGHT) -> NatsConfig:
    return NatsConfig(user=user, password=password)


@with_nats
async def test_relay_and_consumer_need_no_more_than_the_permissions_of_the_page(tmp_path) -> None:
    async with (
        nats(tmp_path, USERS) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
    ):
        relay = await mirror.serve_relay_nats(broker.url, name="desk", access=as_user("relay"))
        await turns_until(lambda: relay.connected)
        async with RemoteMirror(relay.url, config=RemoteConfig(nats=as_user("consumer"))) as remote:
            await remote.until(lambda: len(remote.tokens) == 2, PATIENCE)
            await remote.wait_live(timeout=PATIENCE)


@with_nats
@pytest.mark.parametrize("who", ["wrong password", "nobody", "not allowed", "wrong token"])
async def test_who_is_not_let_in_is_told_once_and_clearly_and_no_secret_is_shown(tmp_path, who, caplog) -> None:
    access, why = {
        "wrong password": (as_user("consumer", WRONG), "Authorization Violation"),
        "nobody": (NatsConfig(), "Authorization Violation"),
        "not allowed": (as_user("nobody"), "permissions violation"),
        "wrong token": (NatsConfig(token=WRONG), "Authorization Violation"),
    }[who]
    caplog.set_level("DEBUG")
    async with (
        nats(tmp_path, USERS.replace("users = [", f"users = [ {NOBODY}")) as broker,
        Simulator(seed=4, rate=50) as venue,
        mirror_of(venue) as mirror,
        RemoteMirror(
            f"{broker.url}/desk", tokens=venue.tokens, slugs=["x"], config=RemoteConfig(nats=access)
        ) as remote,
        asyncio.TaskGroup() as tasks,
    ):
        told: list[Warned] = []

        async def listen(source) -> None:
            async for event in source.events(Warned):
                told.append(event)  # noqa: PERF401 - it does not end

        listeners = [tasks.create_task(listen(source)) for source in (mirror, remote)]
        relay = await mirror.serve_relay_nats(broker.url, name="desk", access=access)
        attempts = []
        link = remote._links[0]
        closed = link.closed
        link.closed = lambda why: attempts.append(why) or closed(why)
        await remote.until(lambda: len(attempts) >= 3, PATIENCE)
        assert not relay.connected
        assert why.lower() in remote.missing["x"].lower()
        for listener in listeners:
            listener.cancel()
    for kind in ("relay broker", "relay connection"):
        details = [each.detail for each in told if each.kind == kind]
        assert why.lower() in details[0].lower()
        # Told again only where something else came between: this machine stood still, say.
        assert all(one != other for one, other in pairwise(details))
    everything = caplog.text + "".join(map(str, attempts)) + repr(remote.config) + str(remote.missing)
    assert RIGHT not in everything
    assert WRONG not in everything


@with_nats
async def test_a_token_for_all_lets_in(tmp_path) -> None:
    async with (
        nats(tmp_path, f'authorization {{ token: "{RIGHT}" }}') as broker,
        connected(broker.url, NatsConfig(token=RIGHT), "a test", print),
    ):
        pass


class Signed:
    """Keys and tokens as NATS' own tool makes them: an operator, an account of it, and a user of that."""

    def __init__(self) -> None:
        kinds = nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER
        seeds = [nkeys.encode_seed(os.urandom(32), kind) for kind in kinds]
        self.operator, self.account, self.user = map(nkeys.from_seed, seeds)

    @staticmethod
    def token(by: nkeys.KeyPair, about: nkeys.KeyPair, kind: str, **more: object) -> str:
        """Return what one key says of another, signed."""

        def part(value: bytes) -> str:
            return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

        claims = {
            "jti": "x", "iat": 1_700_000_000, "iss": by.public_key.decode(), "sub": about.public_key.decode(),
            "name": kind, "nats": {"type": kind, "version": 2, **more},
        }  # fmt: skip
        said = part(b'{"typ":"JWT","alg":"ed25519-nkey"}') + "." + part(json.dumps(claims).encode())
        return f"{said}.{part(by.sign(said.encode()))}"

    def settings(self) -> str:
        """Return what a server is to know of them."""
        free = {"limits": dict.fromkeys(("subs", "data", "payload", "conn", "leaf", "imports", "exports"), -1)}
        account = self.token(self.operator, self.account, "account", **free)
        operator = self.token(self.operator, self.operator, "operator")
        key = self.account.public_key.decode()
        return f'operator: "{operator}"\nresolver: MEMORY\nresolver_preload: {{ {key}: "{account}" }}'

    def credentials(self, path: Path) -> str:
        """Write the file that the user has."""
        none = dict.fromkeys(("subs", "data", "payload"), -1)
        token = self.token(self.account, self.user, "user", **none)
        seed = self.user.seed.decode()
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n",
            encoding="utf-8",
        )
        return seed


@with_nats
async def test_a_file_of_credentials_lets_in_and_another_one_does_not(tmp_path) -> None:
    signed, other = Signed(), Signed()
    seed = signed.credentials(tmp_path / "me.creds")
    other.credentials(tmp_path / "other.creds")
    async with nats(tmp_path, signed.settings()) as broker:
        access = NatsConfig(credentials=str(tmp_path / "me.creds"))
        async with connected(broker.url, access, "a test", print) as connection:
            await connection.confirm()
        with pytest.raises(Lost, match="Authorization Violation") as caught:
            async with connected(broker.url, NatsConfig(credentials=str(tmp_path / "other.creds")), "a test", print):
                pass
        assert caught.value.refused
        assert seed not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "the file of credentials cannot be read: No such file or directory"),
        (f"{RIGHT}\n", "the credentials cannot be used"),
        (f"-----BEGIN NATS USER JWT-----\n{RIGHT}\n-----BEGIN USER NKEY SEED-----\n{RIGHT}\n-----", "cannot be used"),
    ],
)
async def test_a_file_of_credentials_that_is_none_is_told_without_what_is_in_it(tmp_path, text, why) -> None:
    path = tmp_path / "me.creds"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    async with Listening(b'INFO {"nonce": "abc", "auth_required": true, "max_payload": 1048576}\r\n') as server:
        with pytest.raises(Lost, match=why) as caught:
            async with connected(server.url("nats"), NatsConfig(credentials=str(path)), "a test", print):
                pass
    assert caught.value.refused
    assert RIGHT not in f"{caught.value!r}{caught.value.__cause__}"


async def test_a_server_that_does_not_begin_tls_is_told_no_secret() -> None:
    hello = b'INFO {"server_id": "x", "auth_required": true, "max_payload": 1048576}\r\n'
    for access in (as_user("me"), NatsConfig(token=RIGHT), NatsConfig()):
        async with Listening(hello, b"PONG\r\n") as server:
            with pytest.raises(Lost, match="does not ask for TLS") as caught:
                async with connected(server.url("tls"), access, "a test", print):
                    pass
            assert RIGHT.encode() not in server.heard
        assert caught.value.refused


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(  # noqa: S603 - fixed words
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",  # noqa: S607
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@with_nats
async def test_tls_is_spoken_with_a_server_that_is_known_and_with_no_other(tmp_path, certificates) -> None:
    settings = f'tls {{ cert_file: "{certificates / "cert.pem"}", key_file: "{certificates / "key.pem"}" }}'
    async with nats(tmp_path, settings) as broker:
        url = broker.url.replace("nats://", "tls://")
        async with connected(url, NatsConfig(ca=str(certificates / "cert.pem")), "a test", print) as connection:
            assert connection.max_payload == 2**20
        with pytest.raises(Lost, match="certificate") as caught:
            async with connected(url, NatsConfig(), "a test", print):
                pass
        assert caught.value.refused
        with pytest.raises(Lost, match="No such file"):
            async with connected(url, NatsConfig(ca=str(tmp_path / "none.pem")), "a test", print):
                pass
