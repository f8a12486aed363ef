"""Network functions of our own: machines that take packets one by one. Pure."""
