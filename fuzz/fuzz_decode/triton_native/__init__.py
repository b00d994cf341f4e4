"""Run what Triton's compiler front end makes of a kernel, on the CPU: see execute.py for the way in."""
