"""Protocol numbers (IANA) that the engine knows."""

from typing import Final

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
AH: Final = 51
ICMPV6: Final = 58
