"""The portal's side of the agent protocol, pure: no database, no socket, no clock."""
