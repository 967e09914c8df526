"""Data that the packages exchange: frozen dataclasses, and their files."""
