#!/usr/bin/python3
"""Open (or make) a sealed object without Sovrun: the format needs nothing but AES-GCM, HKDF and this page.

    open_sealed.py --context context.json --in sealed.bin --out plain.bin < data.key
    open_sealed.py --context context.json --in sealed.bin --out plain.bin --key-file data.key
    open_sealed.py --seal ...                  the other way

The data key is 32 bytes, raw or as 64 hex digits. A key file must be private (0600). The context is a JSON object:
    {"cluster": "...", "region": "...", "job": "...", "artifact": "...", "part": 0, "part_count": 1,
     "bucket": "...", "key": "...", "plain_bytes": 123}

An object is one message of C2SP FLOE (c2sp.org/FLOE) with segments of 1 MiB. Its key is
HKDF-Expand-SHA-256(data key, "sovrun object key v1" || context), its associated data the context in canonical form.
This file is written from the specification and shares nothing with the C code, so that each can check the other.
"""
import argparse
import json
import os
import stat
import sys
from collections import namedtuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

# segment_bytes is ENC_SEG_LEN; rotation_log2 is AEAD_ROTATION_MASK, fixed at 20 but in test vectors.
Params = namedtuple("Params", "segment_bytes rotation_log2")
DEFAULT = Params(1024 * 1024, 20)

IV_BYTES, HEADER_BYTES, OVERHEAD, KEY_BYTES = 32, 74, 32, 32
NOT_FINAL = b"\xff\xff\xff\xff"
CONTEXT_FIELDS = {"cluster": str, "region": str, "job": str, "artifact": str, "part": int, "part_count": int,
                  "bucket": str, "key": str, "plain_bytes": int}  # in the order of the canonical form


class Refused(Exception):
    """The key, the context or the bytes are not the right ones."""


# ---- FLOE ----

def _params(p):
    return bytes([0, 0]) + p.segment_bytes.to_bytes(4, "big") + IV_BYTES.to_bytes(4, "big")


def _kdf(p, key, iv, aad, purpose, length):
    return HKDFExpand(hashes.SHA384(), length, _params(p) + iv + purpose + aad).derive(key)


class Message:
    """The keys of one message: `header` given to open it, `random` to make it."""

    def __init__(self, params, key, aad, header=None, random=os.urandom):
        if len(key) != KEY_BYTES:
            raise Refused(f"the key has {len(key)} bytes, not {KEY_BYTES}")
        self.params, self.aad, self.random = params, aad, random
        if header is not None and (len(header) != HEADER_BYTES or header[:10] != _params(params)):
            raise Refused(f"not a FLOE message with segments of {params.segment_bytes} bytes")
        self.iv = random(IV_BYTES) if header is None else header[10:42]
        tag = _kdf(params, key, self.iv, aad, b"HEADER_TAG:", 32)
        if header is not None and not constant_time.bytes_eq(tag, header[42:]):
            raise Refused("the header tag does not match: another key or context")
        self.header = _params(params) + self.iv + tag
        self.key = _kdf(params, key, self.iv, aad, b"MESSAGE_KEY:", 48)
        self.aead = (None, None)

    def _aead(self, index):
        first = index >> self.params.rotation_log2 << self.params.rotation_log2
        if self.aead[0] != first:
            purpose = b"DEK:" + first.to_bytes(8, "big")
            self.aead = (first, AESGCM(_kdf(self.params, self.key, self.iv, self.aad, purpose, 32)))
        return self.aead[1]

    def seal(self, index, final, plain):
        iv = self.random(12)
        sealed = self._aead(index).encrypt(iv, plain, index.to_bytes(8, "big") + bytes([final]))
        return ((len(plain) + OVERHEAD).to_bytes(4, "big") if final else NOT_FINAL) + iv + sealed

    def open(self, index, final, segment):
        if len(segment) < OVERHEAD or segment[:4] != (len(segment).to_bytes(4, "big") if final else NOT_FINAL):
            raise Refused(f"segment {index} has the wrong length word")
        try:
            return self._aead(index).decrypt(segment[4:16], segment[16:], index.to_bytes(8, "big") + bytes([final]))
        except InvalidTag:
            raise Refused(f"segment {index} was altered") from None


def _pieces(read, size):
    """(piece, is_last) of a stream: at least one piece, the last one empty only if the stream is."""
    piece = read(size)
    while True:
        following = read(size) if len(piece) == size else b""
        yield piece, not following
        if not following:
            return
        piece = following


def seal_stream(params, key, aad, read, write, random=os.urandom):
    message = Message(params, key, aad, random=random)
    write(message.header)
    for index, (plain, final) in enumerate(_pieces(read, params.segment_bytes - OVERHEAD)):
        write(message.seal(index, final, plain))


def open_stream(params, key, aad, read, write):
    message = Message(params, key, aad, header=read(HEADER_BYTES))
    for index, (segment, final) in enumerate(_pieces(read, params.segment_bytes)):
        write(message.open(index, final, segment))


# ---- sealed objects ----

def context_bytes(context):
    if not isinstance(context, dict) or set(context) != set(CONTEXT_FIELDS):
        raise Refused("the context must have exactly: " + ", ".join(CONTEXT_FIELDS))
    out = b"sovrun-seal-v1"
    for name, kind in CONTEXT_FIELDS.items():
        value = context[name]
        if type(value) is not kind or (kind is int and not 0 <= value < 1 << 64):
            raise Refused(f"'{name}' in the context must be {'text' if kind is str else 'a whole number'}")
        value = value.to_bytes(8, "big") if kind is int else value.encode()
        out += len(value).to_bytes(4, "big") + value
    return out


def object_key(data_key, context):
    if len(data_key) != KEY_BYTES:
        raise Refused(f"the data key has {len(data_key)} bytes, not {KEY_BYTES}")
    info = b"sovrun object key v1" + context
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(data_key)


# ---- command ----

def read_key(path):
    if path is None:
        text = sys.stdin.buffer.read(256)
    else:
        with open(path, "rb") as f:
            if stat.S_IMODE(os.fstat(f.fileno()).st_mode) & 0o077:
                raise Refused(f"others may read '{path}': chmod 600 it first")
            text = f.read(256)
    if len(text) == KEY_BYTES:
        return text
    try:
        return bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        raise Refused("the data key must be 32 raw bytes or 64 hex digits") from None


def run(args):
    with open(args.context, encoding="utf-8") as f:
        context = json.load(f)
    aad = context_bytes(context)
    key = object_key(read_key(args.key_file), aad)
    plain_path = args.input if args.seal else None
    if plain_path and os.path.getsize(plain_path) != context["plain_bytes"]:
        raise Refused("plain_bytes in the context is not the length of the file")
    # Under a name of its own until all of it is proved: half an object must not look like one.
    partial = args.output + ".partial"
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(args.input, "rb") as source, os.fdopen(descriptor, "wb") as target:
            work = seal_stream if args.seal else open_stream
            work(DEFAULT, key, aad, source.read, target.write)
        if not args.seal and os.path.getsize(partial) != context["plain_bytes"]:
            raise Refused("the object has another length than its context says")
        os.rename(partial, args.output)
    finally:
        if os.path.exists(partial):
            os.unlink(partial)


def main():
    parser = argparse.ArgumentParser(description="Open a sealed object with its data key and context.")
    parser.add_argument("--context", required=True, metavar="JSON", help="file with the object's context")
    parser.add_argument("--in", required=True, dest="input", metavar="FILE")
    parser.add_argument("--out", required=True, dest="output", metavar="FILE")
    parser.add_argument("--key-file", metavar="FILE", help="the data key (0600); default: standard input")
    parser.add_argument("--seal", action="store_true", help="make a sealed object instead")
    try:
        run(parser.parse_args())
    except (Refused, OSError, ValueError) as error:
        print(f"open_sealed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
