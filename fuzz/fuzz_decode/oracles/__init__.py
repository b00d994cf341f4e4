"""Oracles: what can be wrong with a run. Each is a function `(problem, run) -> findings` that never raises and never prints.

`immediate` lists those that need one run; `repeatability` compares with another one.
"""
