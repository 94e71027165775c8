#!/usr/bin/python3
"""Writes core/token/split_table.c: which characters are letters, numbers and white space.

    tools/unicode_tables.py | clang-format --assume-filename=x.c >core/token/split_table.c

By the Unicode version of this Python's unicodedata: categories L*, N*, and the property White_Space (Z* and six controls).
"""
import sys
import unicodedata

CLASSES = {"L": "SPLIT_LETTER", "N": "SPLIT_NUMBER", "Z": "SPLIT_SPACE"}
CONTROLS = [0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85]


def class_of(c):
    return "SPLIT_SPACE" if c in CONTROLS else CLASSES.get(unicodedata.category(chr(c))[0])


def ranges():
    found = []
    for c in range(0x80, 0x110000):
        kind = class_of(c)
        if kind and found and found[-1][2] == kind and found[-1][1] == c - 1:
            found[-1][1] = c
        elif kind:
            found.append([c, c, kind])
    return found


def main():
    ascii_table = [class_of(c) or "SPLIT_OTHER" for c in range(0x80)]
    found = ranges()
    print(f"/* Unicode {unicodedata.unidata_version}. Made by tools/unicode_tables.py; not to be edited. */")
    print('#include "core/token/split.h"\n')
    print("/* One letter each keeps the tables short. */")
    print("#define O SPLIT_OTHER\n#define L SPLIT_LETTER\n#define N SPLIT_NUMBER\n#define S SPLIT_SPACE\n")
    print("const uint8_t split_ascii[128] = {", ", ".join(k[6] for k in ascii_table), "};\n")
    print(f"const size_t split_range_count = {len(found)};")
    print(f"const struct split_range split_ranges[{len(found)}] = {{")
    print(", ".join(f"{{ 0x{first:x}, 0x{last:x}, {kind[6]} }}" for first, last, kind in found))
    print("};")


if __name__ == "__main__":
    sys.exit(main())
