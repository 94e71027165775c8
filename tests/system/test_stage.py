#!/usr/bin/python3
"""`sovrun data`: only what changed travels, an interrupted staging goes on, and the class is at least what was found."""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time

from cluster import BIN, CSV, SPEC, Cluster, check, finish, left_over

HERE = None  # a scratch folder below the cluster's home


def refused(c, what, done, code, *words):
    said = done.stderr + done.stdout
    check(f"{what}: exit {code}", done.returncode == code, f"exit {done.returncode}: {said}")
    check(f"{what}: says {', '.join(map(repr, words))}", all(w in said for w in words), said)


def stage(c, source, place, *options, **more):
    done = subprocess.run([BIN / "sovrun", "data", "stage", str(source), f"s3://data/{place}", *options, "--json", "--home", c.home],
                          capture_output=True, text=True, timeout=300, check=False, **({"stdin": subprocess.DEVNULL} | more))
    return done, json.loads(done.stdout) if done.returncode == 0 else {}


def rows(count):
    return [f"{i},{i * 7919 % 1000},word{i % 97},{i * 31 % 1000 / 8}" for i in range(count)]


def write(name, lines, header="id,n,word,x"):
    path = HERE / name
    path.write_text("\n".join([header] + lines) + "\n")
    return path


def records_event(c, event, uri, **members):
    """The ledger record of that kind about the place; the scheduler takes a moment to write it."""
    for _ in range(100):
        found = [r for r in c.ask("audit", "tail", "-n", "1000")["records"]
                 if r["event"] == event and (r["data"] | {"uri": uri} | members) == r["data"]]
        if found:
            return found[-1]
        time.sleep(0.1)
    return None


def incremental(c):
    lines = rows(400_000)
    big = write("big.csv", lines)
    sizes = ["--shard-bytes", "256KiB", "--class", "internal", "--basis", "contract"]
    done, first = stage(c, big, "big", *sizes)
    check("a CSV of some megabytes is staged", done.returncode == 0 and first["sent"] == first["shards"] > 20, done.stderr)
    done, again = stage(c, big, "big", *sizes)
    check("again: 0 shards sent", again.get("sent") == 0 and again["already"] and again["digest"] == first["digest"], done.stdout)
    human = c.run("data", "stage", big, "s3://data/big", *sizes)
    check("and people are told so", f"sent 0 of {first['shards']} shards, 0 B of" in human.stdout, human.stdout)
    lines[200_000] = "200000,1,changed,0.5"
    big = write("big.csv", lines)
    done, changed = stage(c, big, "big", *sizes)
    check("one row changed in the middle: few shards sent", 0 < changed.get("sent", 99) <= 4, done.stdout)
    done, more = stage(c, write("big.csv", lines + ["400000,1,behind,1"]), "big", *sizes)
    check("one row appended: one or two shards sent", 0 < more.get("sent", 99) <= 2, done.stdout)
    check("data verify finds nothing wrong", c.run("data", "verify", "s3://data/big", "--parallel", "3").returncode == 0)
    events = [records_event(c, "data.staged", "s3://data/big", digest=r["digest"]) for r in (first, changed, more)]
    versions = c.ask("data", "ls", "s3://data/big", "--all")["datasets"]
    check("data ls --all lists the earlier manifests too", [v["digest"] for v in versions] == [r["digest"] for r in (more, changed, first)], versions)
    check("each staging is a ledger event", all(e is not None and e["actor"].startswith("user:") for e in events), events)


def killed(c):
    lines = rows(600_000)
    path = write("killed.csv", lines)
    options = ["--shards", "400", "--class", "public", "--parallel", "2"]
    arguments = [BIN / "sovrun", "data", "stage", str(path), "s3://data/killed", *options, "--home", c.home]
    shards = c.home / "store" / "data" / "objects" / "killed" / "shards"
    started = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while started.poll() is None and time.monotonic() < limit and (not shards.exists() or len(os.listdir(shards)) < 40):
        time.sleep(0.002)
    started.send_signal(signal.SIGKILL)
    started.wait()
    check("the staging was killed in the middle", started.returncode == -signal.SIGKILL, started.returncode)
    check("a staging that was killed left no dataset", c.run("data", "verify", "s3://data/killed").returncode == 6)
    done, result = stage(c, path, "killed", *options)
    check("the next one goes on: what is there does not travel again",
          done.returncode == 0 and 0 < result["sent"] <= 400 - 35, f"{done.stderr} {done.stdout}")
    check("and the dataset verifies", c.run("data", "verify", "s3://data/killed").returncode == 0)


def bad_shard(c):
    stage(c, CSV, "damaged", "--class", "public")
    objects = sorted(p for p in (c.home / "store" / "data").rglob("*") if p.is_file() and "/damaged/shards/" in str(p) and p.stat().st_size > 1000)
    data = bytearray(objects[3].read_bytes())
    data[len(data) // 2] ^= 1
    mode = objects[3].stat().st_mode
    objects[3].chmod(0o600)
    objects[3].write_bytes(data)
    objects[3].chmod(mode)
    done = c.run("data", "verify", "s3://data/damaged", "--json")
    bad = json.loads(done.stdout)["bad"] if done.returncode == 1 else None
    mended, again = stage(c, CSV, "damaged", "--class", "public"), stage(c, CSV, "damaged", "--class", "public", "--reread")
    check("staging again mends it, once it is asked to read what is there", mended[1]["sent"] == 0 and again[1]["sent"] == 1
          and c.run("data", "verify", "s3://data/damaged").returncode == 0, f"{mended} {again}")
    check("data verify names the one bad shard", bad is not None and len(bad) == 1 and "damaged/shards/" in bad[0]["key"], done.stdout + done.stderr)


def classes(c):
    people = write("people.csv", [f"{i},u{i}@example.org,19{50 + i % 40}-0{1 + i % 9}-11" for i in range(50)], "id,mail,birth_date")
    done = c.run("data", "stage", people, "s3://data/people", "--class", "public")
    refused(c, "e-mail addresses as public data", done, 3, "mail", "e-mail address", "birth date", "personal", "--override")
    check("the refusal shows no address", "example.org" not in done.stdout + done.stderr, done.stdout)
    check("nothing was stored", c.run("data", "verify", "s3://data/people").returncode == 6)
    done, staged = stage(c, people, "people", "--class", "public", "--override", "made up for a test")
    check("with a reason it is staged", done.returncode == 0 and staged["class_needed"] == "personal", done.stderr)
    event = records_event(c, "data.override", "s3://data/people")
    check("the override stands in the ledger, with who and why",
          event is not None and event["data"]["reason"] == "made up for a test" and event["actor"].startswith("user:")
          and {"column": "mail", "count": 50, "kind": "e-mail address"} in event["data"]["findings"], event)
    check("and no address does", event is not None and "example.org" not in json.dumps(event), event)
    listed = [d for d in c.ask("data", "ls", "s3://data/people")["datasets"]][0]
    check("the catalogue shows findings and override",
          listed["override_reason"] == "made up for a test" and listed["override_by"].startswith("user:") and len(listed["findings"]) == 2, listed)
    check("the catalogue can be asked by class and owner",
          [d["uri"] for d in c.ask("data", "ls", "--class", "internal")["datasets"]] == ["s3://data/big"]
          and c.ask("data", "ls", "--owner", "nobody-of-that-name")["datasets"] == [])
    done, _ = stage(c, people, "people2", "--class", "personal")
    check("as personal data it needs none", done.returncode == 0, done.stderr)


def sources(c):
    plain = CSV.read_bytes()
    done, one = stage(c, CSV, "one", "--class", "public")
    done, piped = stage(c, "-", "piped", "--class", "public", stdin=CSV.open("rb"))
    check("standard input is staged", done.returncode == 0 and piped["records"] == 1000, done.stderr)
    check("nothing of it is left behind", not list(c.home.glob(".spool*")), list(c.home.iterdir()))
    done, _ = stage(c, "-", "limited", "--class", "public", "--spool-max", "100KB", stdin=CSV.open("rb"))
    refused(c, "more standard input than may be kept", done, 1, "--spool-max")
    folder = HERE / "folder"
    folder.mkdir()
    lines = plain.decode().splitlines(keepends=True)
    (folder / "2.csv").write_text("".join([lines[0]] + lines[600:]))
    (folder / "1.csv").write_text("".join(lines[:600]))
    done, parts = stage(c, folder, "folder", "--class", "public")
    digests = {d["uri"]: d for d in c.ask("data", "ls")["datasets"]}
    check("a folder is staged as its files one behind the other", done.returncode == 0 and parts["records"] == 1000
          and digests["s3://data/folder"]["bytes"] == digests["s3://data/one"]["bytes"], done.stderr)
    subprocess.run(["zstd", "-q", "-f", CSV, "-o", HERE / "credit.csv.zst"], check=True)
    done, packed = stage(c, HERE / "credit.csv.zst", "packed", "--class", "public")
    check("a .zst file of another program is read", done.returncode == 0 and packed["records"] == 1000 and packed["bytes"] == len(plain), done.stderr)
    done, piped = stage(c, "-", "piped-zst", "--class", "public", stdin=(HERE / "credit.csv.zst").open("rb"))
    check("on standard input too", done.returncode == 0 and piped["records"] == 1000, done.stderr)
    cut = HERE / "cut.csv.zst"
    cut.write_bytes((HERE / "credit.csv.zst").read_bytes()[:-40])
    refused(c, "a .zst that is cut off", stage(c, cut, "cut")[0], 1, "cut.csv.zst", "zstd")
    done, dry = stage(c, CSV, "dry", "--class", "public", "--dry-run")
    check("a dry run sends nothing", done.returncode == 0 and dry["sent"] == 8 and c.run("data", "verify", "s3://data/dry").returncode == 6, done.stderr)


def odd_names(c):
    """File names are bytes; a manifest is UTF-8."""
    path = os.fsencode(HERE) + b"/caf\xe9 \xc3\xa9.csv"
    shutil.copy(CSV, path)
    (done, first), (_, again) = (stage(c, os.fsdecode(path), "odd", "--class", "public") for _ in range(2))
    check("a file whose name is no UTF-8 is staged, and known again", done.returncode == 0 and again["already"], done.stderr)
    check("and listed", len(c.ask("data", "ls", "s3://data/odd")["datasets"]) == 1 and first["shards"] == 8)


def full_disk(c):
    """A home whose file system is full: needs the right to mount one."""
    small = HERE / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True, check=False).returncode != 0:
        print("# no file system of a given size can be mounted here: the full disk is not tried")
        return
    try:
        for name in ("sovrun.yaml", "policy.yaml"):
            shutil.copy(c.home / name, small / name)
        with (HERE / "big.csv").open("rb") as big:
            done = subprocess.run([BIN / "sovrun", "data", "stage", "-", "s3://data/full", "--home", small], stdin=big, capture_output=True, text=True,
                                  timeout=60, check=False)
        refused(c, "standard input onto a full disk", done, 1, "standard input", "No space left")
    finally:
        subprocess.run(["umount", small], check=True)


def formats(c):
    text = HERE / "words.txt"
    text.write_text("".join(f"Paragraph {i} has\ntwo lines.\n\n" for i in range(5000)))
    done, staged = stage(c, text, "words", "--class", "public", "--shard-bytes", "16KiB", "--compress", "zstd")
    check("text is cut into shards", done.returncode == 0 and staged["format"] == "text" and staged["records"] == 15000 and staged["shards"] > 4,
          done.stderr + done.stdout)
    tokens = HERE / "tokens.bin"
    tokens.write_bytes(struct.pack("<256i", 20240520, 1, 9000, *[0] * 253) + struct.pack("<9000H", *range(9000)))
    done, staged = stage(c, tokens, "tokens", "--class", "public", "--shard-bytes", "4KiB")
    check("tokens are cut by their number", done.returncode == 0 and staged["format"] == "tokens" and staged["records"] == 9000 and staged["shards"] == 5,
          done.stderr + done.stdout)
    check("all of it verifies", all(c.run("data", "verify", f"s3://data/{p}").returncode == 0 for p in ("words", "tokens")))
    for place in ("words", "tokens"):
        refused(c, f"a job that would train on {place}", c.run("submit", SPEC, "--set", f"data.train=s3://data/{place}"), 2, "data.train", "csv")
    refused(c, "a job whose own file is text", c.run("submit", SPEC, "--set", f"data.train=file://{text}"), 2, "data.train", "csv")


def bad_input(c):
    def source(name, data):
        path = HERE / name
        path.write_bytes(data)
        return path

    for what, name, data, words in (
        ("an empty file", "empty.csv", b"", ("empty.csv", "is empty")),
        ("text that is not UTF-8", "latin.txt", b"fine\nn\xe9 \n", ("latin.txt:2", "UTF-8")),
        ("tokens cut off in the middle of one", "odd.u16", b"abc", ("odd.u16", "cut off")),
        ("tokens cut off by their header", "short.bin", struct.pack("<256i", 20240520, 1, 9, *[0] * 253) + b"ab", ("short.bin", "8 tokens more")),
        ("a binary file that says nothing", "what", b"\0\1\2\3", ("what", "--format")),
    ):
        refused(c, what, stage(c, source(name, data), "bad")[0], 2, *words)
    refused(c, "what is no zstd", stage(c, source("no.csv.zst", b"a,b\n1,2\n"), "bad")[0], 1, "no.csv.zst", "zstd")
    refused(c, "a file that is not there", stage(c, HERE / "nothing.csv", "bad")[0], 6, "nothing.csv")
    refused(c, "an override without a reason", stage(c, CSV, "bad", "--override", "")[0], 2, "--override")
    refused(c, "an owner that is no text", stage(c, CSV, "bad", "--owner", b"\xff\xfe")[0], 2, "--owner", "UTF-8")
    refused(c, "a basis that is too long", stage(c, CSV, "bad", "--basis", "x" * 128)[0], 2, "--basis")
    check("nothing of it became a dataset", c.run("data", "verify", "s3://data/bad").returncode == 6)


def zstd_trains_the_same(c):
    models = {}
    for how in ("none", "zstd"):
        stage(c, CSV, f"train-{how}", "--class", "personal", "--compress", how)
        job = c.submit(SPEC, f"data.train=s3://data/train-{how}", "train.epochs=4")
        shown = c.wait_over(job)
        models[how] = shown["job"]["state"] == "succeeded" and shown["job"]["result"]["model"]["sha256"]
    check("a job on zstd shards gives the same model as on plain ones", models["none"] and models["none"] == models["zstd"], models)


def without_services(c):
    people = HERE / "people.csv"
    done, _ = stage(c, people, "down1", "--class", "public", "--override", "nobody hears it")
    refused(c, "an override that cannot be recorded", done, 4, "override", "recorded")
    check("and nothing was stored", c.run("data", "verify", "s3://data/down1").returncode == 6)
    done, staged = stage(c, people, "down2", "--class", "personal")
    check("a plain staging works, and says that it is not recorded",
          done.returncode == 0 and not staged["recorded"] and "not recorded" in done.stderr, done.stderr)


def main():
    global HERE
    c = Cluster("stage")
    try:
        c.up()
        HERE = pathlib.Path(c.home) / "scratch"
        HERE.mkdir()
        for part in (incremental, killed, bad_shard, classes, sources, odd_names, full_disk, formats, bad_input, zstd_trains_the_same):
            part(c)
        check("the ledger verifies", c.run("audit", "verify").returncode == 0)
        c.run("down")
        without_services(c)
    finally:
        c.stop_quietly()
    check("nothing is left running", not left_over(c.home), left_over(c.home))
    finish()


if __name__ == "__main__":
    main()
