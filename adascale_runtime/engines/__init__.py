"""What executes branches: delegates, LiteRT's C library, and trials of unknown files."""
