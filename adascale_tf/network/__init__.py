"""The elastic network: one set of weights, many branches."""
