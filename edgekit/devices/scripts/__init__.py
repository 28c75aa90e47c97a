"""Every line of shell that EdgeKit runs on a device: constants, with data passed as positional parameters only.

    files           the root folder, and files below it
    upload          the steps of an upload, in their order
    lock            one user at a time
    environment     what `edgekit provision` makes there
    looking         what a device is, and in what state
    running         commands, and the runner
    parts           what they have in common

They need a POSIX `sh` and mkdir, mv, rm, ln, cat, sync, df, date, find, ls, sed, wc, dd, head, tail, uname, od, tr, and
one of sha256sum, `shasum -a 256` and openssl; that is coreutils, busybox, toybox and macOS. They are run as
`sh -c SCRIPT edgekit ARGUMENT...`. Nothing that a user, a target or a device says ever becomes part of a script.
"""
