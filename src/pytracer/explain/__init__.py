"""Show the whole path of a tracer on one page: its C, the plan, the bytecode, the verifier log, the native
code, maps, attachments, and its cost; or explain why a program was refused.

``page`` defines a page as data, ``text`` and ``html`` render it; ``watch`` runs a tracer and observes it,
``stages`` makes the page of that, ``refused`` makes the page of a program that the kernel rejects.
"""
