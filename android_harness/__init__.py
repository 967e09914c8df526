"""Phones over adb. Reserved: the harness and the on-device agent come next; see docs/architecture.md."""
