"""Pure: decoders of captures and samples, and the association of subflows."""
