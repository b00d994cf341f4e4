"""What both engines for the CPU share: the record of launches, the driver that kernels' modules expect, and the self-test.

`triton_interpreter` and `triton_native` run kernels; neither knows the other, and a process uses one of them.
"""
