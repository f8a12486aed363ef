"""The manners of the REST API: problem details, strict input, keyset pages, entity tags, tokens, permissions."""
