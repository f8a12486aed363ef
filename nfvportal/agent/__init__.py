"""The device side: a session with the portal, roles that act on the device, Linux access. No Django."""
