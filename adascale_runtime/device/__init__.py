"""What this device says of itself: identity, sensors, battery, context."""
