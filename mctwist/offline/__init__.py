"""
What is done to a data directory without its server, or beside it.

    stores         what a directory holds, and its lock
    process        work in a process of its own, which a damaged file may end
    check, report  looks at everything, and says what it has found
    journalled     what the journals of an LMDB store hold
    directories    the same for stores of a file a key
    salvage        what can be read of LMDB's tables that are damaged
    repair         makes a store that is whole of one that is not
    replace        has it take the other's place
    copies         backup and restore
    contents       the items of a store, out and in

The rule: a store changes from one whole state to another by one rename, after everything has been
written beside it and verified; what was there before is kept, and its name is told.
"""
