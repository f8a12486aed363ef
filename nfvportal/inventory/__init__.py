"""Sites, devices, interfaces and links: the only tables that the apps share."""
