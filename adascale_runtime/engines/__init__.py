"""Engines that execute branches: delegates, LiteRT's C library, and trials of unknown files."""

from adascale_runtime.engines import built_in as built_in  # declares the built-in delegates
