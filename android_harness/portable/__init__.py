"""Python and LiteRT for phones that have neither: how the wheels that hold them are built, and found where installed.

``python -m android_harness.portable`` builds them; see ``docs/profiling-over-adb.md``.
"""
