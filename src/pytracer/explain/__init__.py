"""The whole path of a tracer on one page, from this kernel: its C, the plan, the bytecode, what the verifier
said, the native code, maps, attachments, and what it costs; or why a program was refused.

``page`` says what a page is, ``text`` and ``html`` write one down; ``watch`` runs a tracer and looks at all
there is, ``stages`` makes the page of that, ``refused`` of a program that the kernel does not take.
"""
