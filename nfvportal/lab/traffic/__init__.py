"""Traffic over real sockets: bulk, request/response, voice-like UDP. Receivers stamp what arrives in 10 ms bins."""
