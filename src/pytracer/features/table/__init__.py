"""The table of kernel features, as pure data: the commit that brought each one, and the fallback.

:mod:`.hooks`, :mod:`.program_types`, :mod:`.map_types` and :mod:`.helpers` have what ``pytracer doctor``
tries; :mod:`.changes` has changes of the kernel that decide between alternatives, or whether a column has a
value. No other file states in which Linux version one of them appeared.

Nothing is decided by a version: kernels are tried (:mod:`pytracer.features.feature_table`). A version
explains an absence, and spares probes of what a kernel of that version has in any case.
"""
