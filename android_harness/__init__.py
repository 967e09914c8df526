"""Phones: adb, device facts, the harness that profiles over adb, and the agent that runs on the phone."""
