"""Making references: what was normal, from the data that a model was made with or from any table.

    tables        CSV, Parquet and NPZ as columns: which are numbers, categories, times, and which are left out
    files         the three formats as raw columns
    columns       one column of values to one feature: cells, counts, moments, noise floors; and a column's counts
    calibration   the noise floors: how far quiet windows lie from their reference
    joint         how the numbers of a row go together: frequencies, their sums, noise floors
    tensors       a model's inputs and outputs to features, by the very summaries that devices compute
    observing   samples of tensors as columns, to be judged against a reference of tensors

`convert` and `edgekit telemetry reference` meet here. The file that comes out is the reporter's
(`edgekit.telemetry.reporter.reference`), as devices read it.
"""
