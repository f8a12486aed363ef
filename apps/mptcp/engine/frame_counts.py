"""What decoders count, by index: all frames, then the good ones, then what was cut off, broken, or passed over."""

from typing import Final

(
    FRAMES,
    TCP_PACKETS,
    MPTCP_PACKETS,
    CUT_HEADERS,
    CUT_OPTIONS,
    BAD_LINK,
    BAD_IPV4,
    BAD_IPV6,
    BAD_TCP,
    BAD_TCP_OPTION,
    BAD_MPTCP_OPTION,
    LINK_UNKNOWN,
    NOT_IP,
    NOT_TCP,
    LATER_FRAGMENT,
    SUBTYPE_UNKNOWN,
    OPTION_REPEATED,
    VERSION_UNKNOWN,
) = range(18)
COUNT_KINDS: Final = 18
