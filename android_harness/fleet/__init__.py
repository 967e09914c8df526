"""Many phones at many hosts, as one device lab: `adascale profile --fleet`."""
