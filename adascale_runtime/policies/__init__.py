"""Policies that choose the next branch: pure functions of context, budget, table and state, and replays of them."""
