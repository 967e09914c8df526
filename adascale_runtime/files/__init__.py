"""Files, from wherever they come: checked where they are read, written whole or not at all."""
