"""Who may do what: roles, API tokens, login."""
