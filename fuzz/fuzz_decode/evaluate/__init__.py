"""Detection power, measured: how many cases until each mutant of the bundled kernel is found, and how often the kernel itself is
blamed. The parent's side is light; mutants run in `attempt`, in processes of their own.
"""
