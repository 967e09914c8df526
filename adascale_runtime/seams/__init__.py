"""What the packages hand to each other: frozen dataclasses, and their files."""
