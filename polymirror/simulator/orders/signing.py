"""What wallets sign at the venue: logins and orders, as EIP-712 says (protocol.md 7.2), and who signed.

An order's id is the hash of its signed fields in the exchange's domain, whatever kind of wallet sends it. Hashes need
nothing but :mod:`polymirror.simulator.orders.keccak`. To find out who signed takes ``eth-account``, which the extras
``bots`` and ``clients`` bring along; without it signatures count as given by whoever they are said to be from, and
:data:`VERIFIES` is false.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.orders.keccak import keccak256

if TYPE_CHECKING:
    from collections.abc import Mapping

try:
    from eth_account import Account as _EthAccount
    from eth_account.messages import SignableMessage as _Signable
except ImportError:
    _EthAccount = _Signable = None

VERIFIES: Final = _EthAccount is not None
"""Whether signatures are verified here."""

CHAIN: Final = 137
EXCHANGE: Final = "0xE111180000d2663C0091e4f400237545B87B996B"
NEG_RISK_EXCHANGE: Final = "0xe2222d279d744050d28e00520010520000310F59"
ATTEST: Final = "This message attests that I control the given wallet"

DEPOSIT_WALLET: Final = 3
"""The signature type of wallets whose signatures are wrapped (ERC-7739)."""

ORDER_FIELDS: Final = (
    *(("salt", "uint256"), ("maker", "address"), ("signer", "address"), ("tokenId", "uint256")),
    *(("makerAmount", "uint256"), ("takerAmount", "uint256"), ("side", "uint8"), ("signatureType", "uint8")),
    *(("timestamp", "uint256"), ("metadata", "bytes32"), ("builder", "bytes32")),
)
"""The fields of an order that its signature, and so its id, covers."""

_ORDER: Final = "Order(" + ",".join(f"{kind} {name}" for name, kind in ORDER_FIELDS) + ")"
_LOGIN: Final = "ClobAuth(address address,string timestamp,uint256 nonce,string message)"
_WRAPPED: Final = (
    "TypedDataSign(Order contents,string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
    + _ORDER
)
_SIDES: Final = {"BUY": 0, "SELL": 1}
_HEX: Final = re.compile(r"0x[0-9a-fA-F]*")


def _word(kind: str, value: Any) -> bytes:
    """One field as EIP-712 writes it, 32 bytes. Raises ValueError or TypeError when it is not of its kind."""
    if kind == "string":
        return keccak256(value.encode())
    if kind in {"address", "bytes32"}:
        length = 20 if kind == "address" else 32
        raw = bytes.fromhex(value[2:]) if isinstance(value, str) and _HEX.fullmatch(value) else b""
        if len(raw) != length:
            raise ValueError(kind)
        return raw.rjust(32, b"\0")
    if not isinstance(value, (int, str)) or isinstance(value, bool):
        raise TypeError(kind)
    return _number(value)


def _number(value: int | str) -> bytes:
    try:
        return int(value).to_bytes(32, "big")
    except OverflowError as error:
        raise ValueError(value) from error


@cache
def _type_hash(text: str) -> bytes:
    return keccak256(text.encode())


@cache
def _domain(name: str, version: str, contract: str = "") -> bytes:
    kind = "EIP712Domain(string name,string version,uint256 chainId" + (
        ",address verifyingContract)" if contract else ")"
    )
    words = [_type_hash(kind), _word("string", name), _word("string", version), _number(CHAIN)]
    return keccak256(b"".join(words) + (_word("address", contract) if contract else b""))


def _order_domain(neg_risk: bool) -> bytes:  # noqa: FBT001 - a fact of the market
    return _domain("Polymarket CTF Exchange", "2", NEG_RISK_EXCHANGE if neg_risk else EXCHANGE)


def _order_struct(order: Mapping[str, Any]) -> bytes:
    given = {**order, "side": _SIDES.get(order.get("side", ""), order.get("side"))}
    return keccak256(_type_hash(_ORDER) + b"".join(_word(kind, given.get(name)) for name, kind in ORDER_FIELDS))


def order_id_of(order: Mapping[str, Any], *, neg_risk: bool = False) -> str:
    """The id of an order: ``0x`` and 64 hex digits, a function of the signed fields alone, known before it is sent.

    ``order`` is the ``order`` part of the body. Raises ValueError when a field is missing or not of its kind.
    """
    try:
        struct = _order_struct(order)
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return "0x" + keccak256(b"\x19\x01" + _order_domain(neg_risk) + struct).hex()


def checksummed(address: str) -> str:
    """An address in the mixed case that clients write it in (EIP-55)."""
    plain = address[2:].lower()
    digest = keccak256(plain.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) > 7 else c for c, d in zip(plain, digest, strict=False))


def is_address(value: object) -> bool:
    """Whether a value is ``0x`` and 40 hex digits."""
    return isinstance(value, str) and len(value) == 42 and _HEX.fullmatch(value) is not None


def login_is_signed(address: str, timestamp: str, nonce: str, signature: str) -> bool:
    """Whether this address signed a login (the L1 headers); everything well-formed, when nothing can be verified."""
    try:
        struct = keccak256(
            _type_hash(_LOGIN)
            + _word("address", address)
            + _word("string", timestamp)
            + _word("uint256", nonce)
            + _word("string", ATTEST)
        )
    except (ValueError, TypeError):
        return False
    return _signed_by(address, _domain("ClobAuthDomain", "1"), struct, signature)


def order_is_signed(address: str, order: Mapping[str, Any], *, neg_risk: bool = False) -> bool:
    """Whether this address signed an order, for itself or for its wallet. The fields must be well-formed."""
    signature, struct, domain = str(order.get("signature", "")), _order_struct(order), _order_domain(neg_risk)
    if order.get("signatureType") == DEPOSIT_WALLET:
        # The wallet's own domain is among what is signed; what follows the 65 bytes only repeats the rest.
        struct = keccak256(
            _type_hash(_WRAPPED)
            + struct
            + _word("string", "DepositWallet")
            + _word("string", "1")
            + _number(CHAIN)
            + _word("address", order.get("signer"))
            + bytes(32)
        )
        signature = signature[:132]
    return _signed_by(address, domain, struct, signature)


def _signed_by(address: str, domain: bytes, struct: bytes, signature: str) -> bool:
    if _EthAccount is None or _Signable is None:
        return _HEX.fullmatch(signature) is not None
    try:
        signer = _EthAccount.recover_message(_Signable(b"\x01", domain, struct), signature=signature)
    except Exception:  # noqa: BLE001 - whatever it raises, this is no signature
        return False
    return str(signer).lower() == address.lower()
