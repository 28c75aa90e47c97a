"""The reporter: it runs inside the user's program on the device and counts what the model sees and answers.

It needs Python 3.8 and the standard library, uses NumPy where the program has imported it already, and imports
nothing of EdgeKit: the same files are packed as a wheel or a zipapp of their own (`edgekit_reporter`), which is why
every import in here is relative.

    reference    what was normal: cells per feature, from the data that the model was made with
    cells        how cells are cut from data: equal mass, atoms, tails
    window       what was seen between two instants, as counts over those cells; windows merge exactly
    wire         windows as bytes
    envelope     the signed envelope that they travel in
    distance     how far a window is from its reference, and what counts as drift
"""
