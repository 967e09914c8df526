"""What delegates take of a .tflite, known from the file alone: a table for each delegate, and verdicts by it."""
