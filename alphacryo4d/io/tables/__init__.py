"""STAR tables at the level of bytes: structure, tokens, rows in and out.

``alphacryo4d.io.star`` is the face of this package; nothing else imports it.
"""
