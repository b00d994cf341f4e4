"""Detection power, measured: the number of cases until each mutant of the bundled kernel is detected, and the rate of false
alarms on the kernel itself. Mutants run in worker processes.
"""
