"""Runs the golden inputs of every variant on this machine. Exit status 3: one does not answer as it should."""

from __future__ import annotations

import sys

from PACKAGE import Model


def main() -> int:
    status = 0
    for name in Model.variants:
        try:
            rows = Model.open(name).check()
        except Exception as error:  # told, and the others are tried
            print("%s: %s: %s" % (name, type(error).__name__, error))
            status = 3
            continue
        for row in rows:
            near = "equal to the bit" if row["exact"] else "%.1f dB" % row["snr_db"]
            print("%s: %s: %s over %d golden samples" % (name, row["output"], near, row["samples"]))
    return status


if __name__ == "__main__":
    sys.exit(main())
