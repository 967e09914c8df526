"""Which branch serves next: pure functions of context, budget, table and state, and replays of them."""
