"""The elastic network: one backbone, many branches."""
