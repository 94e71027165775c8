#!/usr/bin/python3
"""Write the FLOE vectors beside this file, the same bytes each time: tests/vectors/floe/make.py

They come from tools/open_sealed.py, which was written apart from the C code and opens the vectors that the
Snowflake-Labs/floe-specification project publishes. Each file: `name value` a line, bytes as hex.
"""
import hashlib
import io
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "..", "tools"))
import open_sealed as floe  # noqa: E402

# name, segment_bytes, rotation_log2, plain bytes, associated data
VECTORS = [
    ("empty", 40, 20, 0, b"aad"),
    ("empty_aad", 64, 20, 100, b""),
    ("one_byte", 40, 20, 1, b"aad"),
    ("one_segment_less_one", 40, 20, 7, b"aad"),
    ("last_segment_full", 40, 20, 8, b"aad"),
    ("one_segment_and_one", 40, 20, 9, b"aad"),
    ("smallest_segments", 33, 20, 5, b"aad"),
    ("rotation_every_segment", 40, 0, 83, b"aad"),
    ("rotation_every_4", 40, 2, 83, b"aad"),
    ("rotation_at_the_end", 40, 2, 32, b"aad"),
    ("four_kib", 4096, 20, 10000, bytes(range(256)) * 8),
    ("long_aad", 64, 20, 64, b"context " * 1000),
]


class Stream:
    """Bytes that look random and depend on the name alone."""

    def __init__(self, seed):
        self.seed, self.count = seed.encode(), 0

    def __call__(self, n):
        out = b""
        while len(out) < n:
            out += hashlib.sha256(self.seed + self.count.to_bytes(8, "big")).digest()
            self.count += 1
        return out[:n]


def write(name, params, key, aad, plain, sealed):
    with open(os.path.join(HERE, name + ".txt"), "w", encoding="ascii") as f:
        f.write(f"segment {params.segment_bytes}\nrotation {params.rotation_log2}\nkey {key.hex()}\naad {aad.hex()}\n"
                f"plain {plain.hex()}\nsealed {sealed.hex()}\n")


def main():
    for name, segment_bytes, rotation_log2, plain_bytes, aad in VECTORS:
        params = floe.Params(segment_bytes, rotation_log2)
        random = Stream("sovrun floe vector " + name)
        key, plain = random(32), random(plain_bytes)
        sealed = io.BytesIO()
        floe.seal_stream(params, key, aad, io.BytesIO(plain).read, sealed.write, random)
        write(name, params, key, aad, plain, sealed.getvalue())

    # Allowed, though no writer of ours makes it: a full inner segment, then an empty last one.
    random = Stream("sovrun floe vector last_segment_empty")
    params, key, plain = floe.Params(40, 20), random(32), random(16)
    message = floe.Message(params, key, b"aad", random=random)
    sealed = message.header + b"".join(message.seal(i, False, plain[8 * i:8 * i + 8]) for i in range(2))
    write("last_segment_empty", params, key, b"aad", plain, sealed + message.seal(2, True, b""))


if __name__ == "__main__":
    main()
