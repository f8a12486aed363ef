"""Pure values and maths shared by engines, agents and the portal. No Django, no sockets, no clock."""
