"""File formats and file access: input is checked as it is read, output is written whole or not at all."""
