"""Oracles: what can be wrong with a run. Each is a function `(problem, run) -> violations` that never raises and never prints.

`immediate` lists those that need one run; `repeatability` compares with another one.
"""
