"""The test bed: real Linux network namespaces joined by emulated links. Imports nothing."""
