"""What tests of foreign network functions need of the machine."""

from apps.chains.agent.foreign_space import tool


def missing_tool(name: str) -> str | None:
    """Return which program is not installed, ``None`` if it is."""
    try:
        tool(name)
    except FileNotFoundError as error:
        return str(error)
    return None
