"""Pure decisions of ``wan``: no clock, no socket, no framework."""
