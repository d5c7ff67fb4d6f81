//! The whole mesh under test: starts the built binaries on this machine and asks them what users ask.
