"""The product's verbs, one module each: build, evolve, search, profile, fit, run ... The command line uses them.

A verb is a function with documented options and a frozen result. It tells how far it is through a callback, prints
nothing, and raises :class:`~adascale_runtime.errors.AdaScaleError` with a sentence. ``adascale_tf`` lists them all.
"""
