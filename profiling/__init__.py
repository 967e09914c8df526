"""Measuring branches on this machine: latency, memory, energy; predictors fitted from it; the report."""
