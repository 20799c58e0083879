"""A page in a browser that observes runs, as the command line does: ``pytracer serve --web``.

docs/page.md has the security model. Nothing here is loaded unless it is asked for.
"""
