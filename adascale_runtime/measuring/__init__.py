"""The work of measuring jobs, the same on hosts and phones; standard library, Python 3.8."""
