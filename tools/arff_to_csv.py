#!/usr/bin/python3
"""arff_to_csv.py FILE.arff > FILE.csv - the dense ARFF files that weka ships, as RFC 4180 CSV with a header line.

configs/demo/german-credit.csv was made with it from credit-g.arff of Debian's package weka (usr/share/doc/weka/examples):
    tools/arff_to_csv.py credit-g.arff > configs/demo/german-credit.csv
"""
import csv
import re
import sys


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    names, rows, in_data = [], [], False
    with open(sys.argv[1], encoding="utf-8") as arff:
        for number, line in enumerate(arff, 1):
            line = line.strip()
            if not line or line.startswith("%"):
                continue
            if in_data:
                row = next(csv.reader([line], quotechar="'", skipinitialspace=True))
                if len(row) != len(names):
                    sys.exit(f"{sys.argv[1]}:{number}: {len(row)} values for {len(names)} attributes")
                rows.append(row)
            elif line.lower().startswith("@attribute"):
                names.append(re.match(r"@attribute\s+('[^']*'|\S+)", line, re.I).group(1).strip("'"))
            elif line.lower().startswith("@data"):
                in_data = True
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(names)
    out.writerows(rows)


if __name__ == "__main__":
    main()
