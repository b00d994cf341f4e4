"""Acceleration of Triton's interpreter; every result has the same bits.

Removable: without `install_speedups` and `install_builder_shortcuts` everything runs, slower. It is used only with versions of
Triton whose interpreter has the parts that it patches (`install.is_known`).

`traced_operations` runs the front end of an operation once for each signature (`call_signatures`), `builder_shortcuts` shortens
the builder's methods that remain, `launches` keeps what is the same at each launch, and `install` puts them in place.
"""
