"""The files and single steps of the authors' prototype, done by this package.

``scripts/`` calls these functions. File names, columns and defaults are the prototype's; its faults
are not kept, and results of an earlier run are replaced, never appended to.
"""
