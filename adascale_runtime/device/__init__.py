"""Facts of this device: identity, sensors, battery, context."""
