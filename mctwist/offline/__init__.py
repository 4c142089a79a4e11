"""
What is done to a data directory without its server, or beside it.

    stores       what a directory holds, and its lock
    process      work in a process of its own, which a damaged file may end
    report       what a check has found
    check        looks at everything, and changes nothing
    repair       makes a store that is whole of one that is not
    copies       backup and restore
    contents     the items of a store, out and in

The rule: a store changes from one whole state to another by one rename, after everything has been
written beside it and verified; what was there before is kept, and its name is told.
"""
