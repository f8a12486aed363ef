"""What is odd about an announced address, in words."""

from typing import Any

from apps.mptcp.engine.records import address_text


def second_address(packet: Any, before: Any) -> str:
    """Return words on an ID that changed its address without REMOVE_ADDR, of a packet and an announcement."""
    now = _end(packet["added_hi"], packet["added_lo"], packet["added_port"])
    then = _end(before["hi"], before["lo"], before["port"])
    return f"ADD_ADDR gives address ID {packet['address_id']} a second address, {now} beside {then}"


def second_id(packet: Any, before: Any) -> str:
    """Return words on an address that has an ID already."""
    end = _end(packet["added_hi"], packet["added_lo"], packet["added_port"])
    return (
        f"ADD_ADDR announces one address, {end}, under IDs {before['address_id']} and {packet['address_id']}"
    )


def _end(high: Any, low: Any, port: Any) -> str:
    """Return an address as people write it, with its port where one was given."""
    text = address_text(int(high), int(low))
    if not port:
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"
