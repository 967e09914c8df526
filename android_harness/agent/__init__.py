"""The agent that runs on the phone: standard library only, Python 3.8 or later, packed into one zipapp."""
