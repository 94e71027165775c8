#!/usr/bin/python3
"""Text becomes tokens: our byte-pair encoder against the public library's, on awkward text, as a filter and as `data stage`."""
import hashlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import time
import unicodedata

from cluster import B, BIN, ROOT, Cluster, check, finish, left_over

try:
    from tokenizers import ByteLevelBPETokenizer
except ImportError:
    OWN = ROOT / "build" / "venv" / "bin" / "python"
    if OWN.exists() and not os.environ.get("SOVRUN_TEST_IN_VENV"):
        os.execve(OWN, [str(OWN), *sys.argv], {**os.environ, "SOVRUN_TEST_IN_VENV": "1"})
    print("ok 1 - the tokenizer # SKIP tokenizers is not there (tools/venv.sh)\n1..1")
    sys.exit(0)

END = "<|endoftext|>"
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2007\u200a\u2028\u2029\u202f\u205f\u3000"
NO_SPACES = "\x1c\x1d\x1e\x1f\u180e\u200b\u200d\u2060\ufeff"  # some call these white space; the pattern does not
HERE = None  # a scratch folder below the cluster's home


class Tokenizer:
    """Ours and the library's, from the same two files."""

    def __init__(self, folder):
        self.vocab, self.merges = folder / "vocab.json", folder / "merges.txt"
        # Without special tokens: "<|endoftext|>" in a text is a text.
        self.library = ByteLevelBPETokenizer(str(self.vocab), str(self.merges), add_prefix_space=False)
        self.end = json.loads(self.vocab.read_text())[END]

    def ids(self, text):
        return self.library.encode(text).ids

    def run(self, what, data, plain=False):
        files = ["bytes"] if plain else [self.vocab, self.merges]
        return subprocess.run([B / "tests" / "system" / "token_file", what, *files], input=data, capture_output=True, timeout=300, check=False)

    def ours(self, texts):
        done = self.run("encode", b"".join(struct.pack("<I", len(t)) + t for t in texts))
        return unpack(done.stdout, 4) if done.returncode == 0 else done.stderr

    def text(self, ids):
        done = self.run("decode", b"".join(struct.pack(f"<{len(i) + 1}I", len(i), *i) for i in ids))
        return unpack(done.stdout, 1) if done.returncode == 0 else done.stderr


def unpack(data, each):
    found, at = [], 0
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        part = data[at + 4:at + 4 + n * each]
        found.append(list(struct.unpack(f"<{n}I", part)) if each == 4 else part)
        at += 4 + n * each
    return found


def own_text():
    """The repository's own words and code."""
    paths = sorted(p for p in ROOT.glob("docs/*.md")) + sorted(p for folder in ("base", "core", "runner") for p in (ROOT / folder).rglob("*.[ch]"))
    return "".join(p.read_text(encoding="utf-8") for p in paths)


def train(folder, text, size):
    folder.mkdir()
    made = ByteLevelBPETokenizer(add_prefix_space=False)
    made.train_from_iterator([text], vocab_size=size, min_frequency=2, show_progress=False, special_tokens=[END])
    made.save_model(str(folder))
    return Tokenizer(folder)


def assigned(characters):
    """Whether Unicode versions agree on a character is only sure of those that this Python knows."""
    return [c for c in map(chr, characters) if unicodedata.category(c) not in ("Cn", "Cs", "Co")]


def alphabets(words):
    every = assigned(range(1, 0x110000))
    numbers = [c for c in every if unicodedata.category(c)[0] == "N"]
    marks = [c for c in every if unicodedata.category(c)[0] == "M"]
    cjk, emoji = assigned(range(0x4E00, 0x9FFF)), assigned(range(0x1F300, 0x1F700)) + ["\u200d", "\ufe0f", "\U0001f3fd"]
    controls = [chr(c) for c in range(1, 0x20)] + [chr(c) for c in range(0x7F, 0xA1)]
    contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'RE", "'", "''", "’s", "'r", "'v", "'l", "'é"]
    return [list(SPACES), list(SPACES) + ["a", "1", "!"], [" ", "\n", "a", "é", "5", ".", "'"], numbers, numbers + ["a", " "],
            marks + ["e", "o", " "], cjk, cjk + ["。", "，", "\u3000", "1"], emoji, emoji + ["a", " ", "3"], controls + ["a", "1", " "],
            contractions + ["I", "we", " ", "\n", "x's", "'s'", "2"], words, words + list(SPACES), words + contractions, every, every + list(SPACES),
            list(NO_SPACES) + ["a", " ", "1", "?"], list("<|>endoftx ") + [END], ["'", "s", " ", "t", "r", "e", "v", "l", "d", "m"]]


def awkward(text, count):
    draw = random.Random(7)
    words = text.split()[:4000]
    found = ["", " ", "  ", "\n", " \n ", "a", " a", "a ", "\u3000a", "a\u3000", "\u3000\u3000a", "\u00a0 \u00a0x", "\r\n\r\nx", "'s", " 's", "''s",
             "I'll've'd", END, END + END, "\0", "a\0b \0", "\0\0 \0", "e\u0301 e\u0301", "Ⅷ⅓²", "١٢٣ १२३", "👩‍👩‍👧‍👦 👍🏽", "a" * 1000, " " * 1000,
             " " * 1000 + "x", "\n" * 333 + " y", "ab" * 700, "-" * 999, "1" * 999, "é" * 500, "中" * 500, "👍" * 300]
    sets = alphabets(words)
    while len(found) < count:
        letters = draw.choice(sets)
        found.append("".join(draw.choice(letters) for _ in range(draw.choice((1, 2, 3, 5, 8, 13, 40, 200)))))
    for _ in range(300):
        at = draw.randrange(len(text) - 5000)
        found.append(text[at:at + draw.randrange(5000)])
    return found


def differences(t, texts):
    """The first text whose tokens differ; None where none do."""
    ours = t.ours([x.encode() for x in texts])
    if not isinstance(ours, list):
        return ours
    for text, got in zip(texts, ours, strict=True):
        if got != t.ids(text):
            return f"{text[:200]!r}: {got[:50]} and not {t.ids(text)[:50]}"
    return None


def as_filter(t, large, text):
    texts = awkward(text, 6000)
    for which, one in (("small", t), ("larger", large)):
        bad = differences(one, texts)
        check(f"{len(texts)} awkward texts have the library's tokens ({which} vocabulary)", bad is None, bad)
    ids = [t.ids(x) for x in texts]
    check("and come back to the byte", t.text(ids) == [x.encode() for x in texts])
    bad = differences(large, [text])
    check(f"a text of {len(text)} characters has the library's tokens", bad is None, bad)
    draw = random.Random(3)
    words = [w for w in text.split() if w.isalpha()]
    for what, piece in (("one letter", "a" * 1_000_000), ("two letters by chance", "".join(draw.choice("ab") for _ in range(1_000_000))),
                        ("words without a space", "".join(draw.choice(words) for _ in range(150_000)))):
        begun = time.monotonic()
        ids = large.ours([piece.encode()])
        seconds = time.monotonic() - begun
        check(f"a piece of {len(piece) >> 10} KiB of {what} is not slow, and right", seconds < 20 and ids == [large.ids(piece)], f"{seconds:.1f} s")
    for bad, at in ((b"abc\xff", 3), (b"\xc3", 0), (b"ok \xed\xa0\x80", 3), (b"12345678\xf4\x90\x80\x80", 8), (b"x\xc0\x80", 1)):
        done = t.run("encode", struct.pack("<I", len(bad)) + bad)
        check(f"{bad!r} is no UTF-8 at byte {at}", done.returncode == 1 and f"not UTF-8 at byte {at}".encode() in done.stderr, done.stderr)
    done = t.run("encode", struct.pack("<I", 3) + b"\xff\0a", plain=True)
    check("to the byte tokenizer any bytes are text", unpack(done.stdout, 4) == [[255, 0, 97]], done)
    print(f"# one thread: {large.run('speed', text.encode()).stdout.decode().strip()} MB/s")


def stage(c, source, place, *options):
    done = subprocess.run([BIN / "sovrun", "data", "stage", str(source), f"s3://data/{place}", *map(str, options), "--json", "--home", c.home],
                          capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL)
    return done, json.loads(done.stdout) if done.returncode == 0 else {}


def objects(c):
    return pathlib.Path(c.home) / "store" / "data" / "objects"


def manifest(c, place):
    newest = max((objects(c) / place / "manifest.json" / "@").glob("*[0-9a-f]"))
    return json.loads(newest.read_text())


def stored(c, place):
    """All tokens of a dataset, read without us."""
    said, found = manifest(c, place), []
    for shard in said["shards"]:
        data = (objects(c) / shard["key"] / "@" / shard["version"]).read_bytes()
        if said["compression"] == "zstd":
            data = subprocess.run(["zstd", "-dqc"], input=data, capture_output=True, check=True).stdout
        width = said["token_bytes"]
        found += struct.unpack(f"<{len(data) // width}{'H' if width == 2 else 'I'}", data)
    return found


def write_source(text):
    """Three documents: with and without a last line end, with white space at their ends, and a byte order mark."""
    folder = HERE / "texts"
    folder.mkdir()
    parts = ["\n\n " + text[:700_000] + " \u3000\n\t \n", text[700_000:900_000].rstrip() + " the end", "\n".join(awkward(text, 3000)).replace("\0", "")]
    for i, part in enumerate(parts):
        (folder / f"{i}.txt").write_bytes((b"\xef\xbb\xbf" if i == 1 else b"") + part.encode())
    (folder / "9.txt").write_bytes(b"")  # no document
    return folder, parts


def as_staging(c, t, text):
    folder, parts = write_source(text)
    bpe = ["--format", "text", "--tokens", "bpe", "--vocab", t.vocab, "--merges", t.merges]
    want = [i for part in parts for i in [*t.ids(part), t.end]]
    for how in (["--shards", 1, "--parallel", 1], ["--shards", 7, "--parallel", 4], ["--shard-bytes", "4KiB", "--parallel", 3],
                ["--shard-records", 1000, "--parallel", 2], ["--shard-bytes", "64KiB", "--compress", "zstd"]):
        place = "t" + "".join(map(str, how)).replace("-", "").lower()
        done, said = stage(c, folder, place, *bpe, *how, "--class", "personal")
        got = stored(c, place) if said else []
        check(f"staged with {' '.join(map(str, how))}: the library's tokens, a document behind the other", got == want and said["records"] == len(want),
              f"{done.stderr} {len(got)} of {len(want)}")
        if said:
            again = stage(c, folder, place, *bpe, *how, "--class", "personal")[1]
            check("again: nothing is sent", again.get("already") and again["sent"] == 0 and again["digest"] == said["digest"], again)
            check("data verify finds nothing wrong", c.run("data", "verify", f"s3://data/{place}").returncode == 0)
    of = manifest(c, "tshardbytes4kibparallel3")
    digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (t.vocab, t.merges)]
    files = of["tokenizer"]["files"]
    check("the manifest says how", of["version"] == 3 and of["format"] == "tokens" and of["token_bytes"] == 2 and of["tokenizer"]["name"] == "bpe"
          and of["tokenizer"]["vocabulary"] == t.library.get_vocab_size() and of["tokenizer"]["end"] == t.end and [f["sha256"] for f in files] == digests, of["tokenizer"])
    kept = [(objects(c) / f["key"] / "@" / f["version"]).read_bytes() for f in files]
    check("and the files lie beside it", kept == [t.vocab.read_bytes(), t.merges.read_bytes()]
          and files[0]["key"] == "tshardbytes4kibparallel3/tokenizer/vocab.json", files)
    changes(c, t, bpe, folder, parts)


def changes(c, t, bpe, folder, parts):
    cut = [*bpe, "--shard-bytes", "4KiB", "--class", "personal"]
    shards = len(manifest(c, "tshardbytes4kibparallel3")["shards"])
    lines = parts[0].split("\n")
    lines[len(lines) // 2] += " changed"
    (folder / "0.txt").write_text("\n".join(lines), encoding="utf-8", newline="")
    done, said = stage(c, folder, "tshardbytes4kibparallel3", *cut)
    want = [i for part in ("\n".join(lines), *parts[1:]) for i in [*t.ids(part), t.end]]
    check(f"a line changed in the middle: few of {shards} shards are sent", 0 < said.get("sent", 99) <= 6 and shards > 60, done.stderr + done.stdout)
    check("and the tokens are right", stored(c, "tshardbytes4kibparallel3") == want)
    versions = list((objects(c) / "tshardbytes4kibparallel3" / "tokenizer" / "vocab.json" / "@").iterdir())
    check("the vocabulary was not sent again", len(versions) == 1, versions)
    kept = versions[0]
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes()[:-2] + b" }")
    done = c.run("data", "verify", "s3://data/tshardbytes4kibparallel3", "--json")
    check("data verify finds a vocabulary that was changed", done.returncode == 1 and [b["key"] for b in json.loads(done.stdout)["bad"]]
          == ["tshardbytes4kibparallel3/tokenizer/vocab.json"], done.stdout + done.stderr)
    done, said = stage(c, folder, "tshardbytes4kibparallel3", *cut)
    check("staging again mends it", said.get("already") is False and said["sent"] == 0
          and c.run("data", "verify", "s3://data/tshardbytes4kibparallel3").returncode == 0, done.stderr)


def other_tokenizers(c, t, text):
    path = HERE / "one.txt"
    path.write_text(text[:50_000] + "ä \n", encoding="utf-8", newline="")
    done, said = stage(c, path, "bytes", "--tokens", "bytes", "--class", "internal")
    check("as bytes", said and stored(c, "bytes") == [*path.read_bytes(), 256] and said["tokenizer"] == "bytes" and said["vocabulary"] == 257, done.stderr)
    made = manifest(c, "bytes")["tokenizer"]
    check("the manifest says so", made == {"end": 256, "files": [], "name": "bytes", "vocabulary": 257}, made)
    shown = [d for d in c.ask("data", "ls", "s3://data/bytes")["datasets"]][0]
    check("data ls too", shown["tokenizer"] == "bytes" and shown["vocabulary"] == 257, shown)
    large = json.loads(t.vocab.read_text())
    large |= {f"no-merge-{i}": i for i in range(len(large), 70_000)}
    (HERE / "large.json").write_text(json.dumps(large, indent=1))
    done, said = stage(c, path, "large", "--tokens", "bpe", "--vocab", HERE / "large.json", "--merges", t.merges, "--class", "internal")
    check("a vocabulary beyond 65,536 takes 4 bytes a token", said and manifest(c, "large")["token_bytes"] == 4
          and stored(c, "large") == [*t.ids(path.read_text(encoding="utf-8")), t.end], done.stderr)


def refused(c, t):
    def file(name, data):
        (HERE / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return HERE / name

    vocab, merges = json.loads(t.vocab.read_text()), t.merges.read_text()
    without = {k: v for k, v in vocab.items() if k != END}
    plain = file("plain.txt", "some words\n")
    bpe = ["--tokens", "bpe"]
    for what, source, options, code, words in (
        ("text that is not UTF-8", file("latin.txt", b"fine\nn\xe9 \n"), [*bpe, "--vocab", t.vocab, "--merges", t.merges], 2, ["latin.txt:2", "UTF-8"]),
        ("a CSV", file("some.csv", "a,b\n1,2\n"), ["--tokens", "bytes"], 2, ["--format text"]),
        ("a tokenizer that is none", plain, ["--tokens", "words"], 2, ["--tokens", "bytes or bpe"]),
        ("bpe without its files", plain, bpe, 2, ["--vocab", "--merges"]),
        ("files without bpe", plain, ["--vocab", t.vocab], 2, ["--tokens bpe"]),
        ("a file that is not there", plain, [*bpe, "--vocab", HERE / "none.json", "--merges", t.merges], 6, ["none.json"]),
        ("a vocabulary without an end of a document", plain,
         [*bpe, "--vocab", file("v1.json", json.dumps({k: i for i, k in enumerate(without)})), "--merges", t.merges], 2, [END, str(len(without))]),
        ("a number twice", plain, [*bpe, "--vocab", file("v2.json", json.dumps(vocab | {"!": 5}, indent=0)), "--merges", t.merges], 2, ["v2.json:", "5"]),
        ("merges that do not go with the vocabulary", plain,
         [*bpe, "--vocab", t.vocab, "--merges", file("m.txt", merges + "zq qz\n")], 2, [f"m.txt:{merges.count(chr(10)) + 1}", "zq"]),
        ("personal data in the text", file("mail.txt", "write to someone@example.org today\n"), ["--tokens", "bytes", "--class", "public"], 3, ["e-mail"]),
    ):
        done, _ = stage(c, source, "bad", *options)
        said = done.stderr + done.stdout
        check(f"{what}: exit {code}, says {', '.join(words)}", done.returncode == code and all(w in said for w in words), f"exit {done.returncode}: {said}")
    check("nothing of it became a dataset", c.run("data", "verify", "s3://data/bad").returncode == 6)


def main():
    global HERE
    c = Cluster("tokens")
    try:
        c.up()
        HERE = pathlib.Path(c.home) / "scratch"
        HERE.mkdir()
        text = own_text()
        t, large = train(HERE / "small", text[:400_000], 1000), train(HERE / "larger", text, 8000)
        as_filter(t, large, text)
        as_staging(c, large, text)
        other_tokenizers(c, t, text)
        refused(c, t)
        check("the ledger verifies", c.run("audit", "verify").returncode == 0)
        c.run("down")
    finally:
        c.stop_quietly()
    check("nothing is left running", not left_over(c.home), left_over(c.home))
    finish()


if __name__ == "__main__":
    main()
