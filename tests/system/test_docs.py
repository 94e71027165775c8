#!/usr/bin/python3
"""What README.md and docs/ say, as far as a machine can tell: paths, make targets, events, names, routes, exit codes."""
import glob
import re

from cluster import ROOT, check, finish

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = r"(?:base|core|kernels|trainer|scheduler|runner|tests|tools|docs|configs|bench|\.ci)"


def source(path):
    return (ROOT / path).read_text(encoding="utf-8")


def ours(text):
    """Without what is said of other projects: addresses, and the "See" sentences of the conventions."""
    text = re.sub(r"https?://\S+", "", text)
    return re.sub(r"\*See\s.*?\.\*(?=\s)", "", text, flags=re.DOTALL)


def code_of(text):
    """The fenced and indented blocks and the code spans: where a command is a command."""
    blocks = re.findall(r"^```.*?^```", text, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(blocks + re.findall(r"^    .*$", rest, flags=re.MULTILINE) + re.findall(r"`[^`]+`", rest))


# ---- paths ----

def braces(path):
    found = re.search(r"\{([^{}]*)\}", path)
    if not found:
        return [path]
    return [p for part in found.group(1).split(",") for p in braces(path[:found.start()] + part + path[found.end():])]


def missing_paths(text):
    named = re.findall(rf"(?<![\w/.-]){FOLDERS}/[\w.*{{}},/-]*", ours(text))
    tests = [f"tests/{name}.c" for name in re.findall(r"(?<![\w/.-])build/tests/([\w/-]+)", text)]
    found = {path for name in named + tests for path in braces(name.rstrip(".,"))}
    return sorted(path for path in found if not glob.glob(str(ROOT / path)))


def missing_links(page, text):
    """Links to files, and to headings of the same page."""
    anchors = {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-")
               for h in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}
    bad = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            bad += [target] if target[1:] not in anchors else []
        elif "://" not in target and not (page.parent / target.split("#")[0]).exists():
            bad.append(target)
    return bad


# ---- make ----

def make_targets():
    rules = re.findall(r"^([a-z][a-z -]*):(?!=)", source("Makefile"), flags=re.MULTILINE)
    return {target for rule in rules for target in rule.split()}


def missing_targets(text):
    named = re.findall(r"(?:^\s*|`)make(?: [A-Z0-9_]+=\S+)* ([a-z][a-z-]*)", code_of(text), flags=re.MULTILINE)
    return sorted(set(named) - make_targets())


# ---- FORMATS.md against the code ----

def section(text, heading):
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,3}} |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    return found.group(2) if found else ""


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]


def spans(text):
    return re.findall(r"`([^`]+)`", text)


def program_sources():
    folders = ("core", "scheduler", "runner", "trainer")
    return {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for f in folders for p in sorted((ROOT / f).rglob("*.[ch]"))}


def words_of(name, text):
    """The texts of a table `name[] = { "a", "b", NULL }`."""
    body = re.search(rf"\b{name}\[\] = \{{(.*?)\}};", text, flags=re.DOTALL).group(1)
    return re.findall(r'"([a-z_]+)"', body)


# Every way in which an event gets into the outbox or the ledger. Who adds one teaches it to this test.
EVENT = r'"([a-z]+\.[a-z_]+)"'
EMITTERS = [
    rf"\bmoves_event\([^;]*?{EVENT}",                        # scheduler
    rf"struct standing_event \w+(?:\[\])? = \{{[^;]*",       # runner/attempt: names inside, below
    rf"snprintf\(event, sizeof\(event\), {EVENT}",          # scheduler/moves.c
    rf"\bworker_(?:tell|record)\(\w+,\s*{EVENT}",                       # trainer
    rf"\brecord\(a, s, q?(?:->)?user, {EVENT}",               # scheduler/route_keys.c
    rf"\broutes_record\(a, s, q->user, {EVENT}",            # scheduler/route_export.c
    rf"return record\(p, {EVENT}",                            # runner/cli/data_place.c
    rf"\.event = {EVENT}",                                   # what stands in for a malformed one
    rf"#define EGRESS_EVENT {EVENT}",                        # core/cluster/egress.c
    rf"\bjob_event_text\(\w+, {EVENT}",                     # runner/cli/cmd_selftest.c
]
WRITERS = {"core/job/job.c", "scheduler/moves.c", "runner/attempt/standing.c", "trainer/pulse.c", "core/cluster/egress.c",
           "runner/cli/cmd_selftest.c", "runner/cli/data_place.c"}


def emitted_events(sources):
    found = {f"job.{name}" for name in words_of("job_event_names", sources["core/job/job.c"])}
    for text in sources.values():
        for pattern in EMITTERS:
            for match in re.finditer(pattern, text):
                found.update(re.findall(EVENT, match.group(0)))
    return found


def check_events(formats, sources):
    told = {row[0].strip("`") for row in rows(section(formats, "Events"))}
    emitted = emitted_events(sources)
    writers = {path for path, text in sources.items() if path.endswith(".c") and "job_event_text(" in text}
    check("every event of FORMATS.md is emitted", told and told <= emitted, sorted(told - emitted))
    check("every event that is emitted stands in FORMATS.md", emitted <= told, sorted(emitted - told))
    check("only the known places write events", writers == WRITERS, sorted(writers ^ WRITERS))


def state_names(sources):
    """First words of the names of values, sets, streams and leases."""
    header = source("core/job/job.h")
    names = set(re.findall(r'\b(?:key_of|numbered_key)\("([a-z]+)"', sources["core/job/job.c"]))
    names.update(re.findall(r'#define JOB_(?:SET_\w+|OUTBOX|LEADER_LEASE) "([a-z]+)"', header))
    for text in sources.values():
        names.update(re.findall(r'snprintf\([^;]*JOB_KEY_BYTES, "([a-z]+)/', text))
        names.update(re.findall(r'snprintf\([^;]*STATE_NAME_BYTES, "([a-z]+)/', text))
    names.update(re.findall(r'#define AUDIT_HEAD_KEY "([a-z]+)/', source("scheduler/audit.h")))
    return names


def check_state(formats, sources):
    text = section(formats, "The state")
    told = {span.split("/")[0] for row in rows(text) for span in spans(row[0]) if not re.match(r"[a-z]:|floor", span)}
    used = state_names(sources)
    check("every name in the state stands in FORMATS.md", used <= told, sorted(used - told))
    check("every name of FORMATS.md is one in the state", told <= used, sorted(told - used))
    records = section(formats, "Records in the state")
    outcomes = words_of("attempt_outcome_names", sources["core/job/attempt.c"])
    states = words_of("job_state_names", sources["core/job/job.c"])
    absent = [word for word in outcomes + states if f"`{word}`" not in records]
    check("every state of a job and outcome of an attempt stands in FORMATS.md", not absent, absent)


def check_routes(formats, sources):
    served = {f"{method} {path}" for method, path in re.findall(r'\{ "([A-Z]+)", "(/v1/[^"]*)"', sources["scheduler/routes.c"])}
    told = {row[0].strip("`").split("?")[0] for row in rows(section(formats, "HTTP API")) if "/v1/" in row[0]}
    check("FORMATS.md has the calls that the scheduler serves, and no other", served and told == served, sorted(told ^ served))


def exit_codes(text, name):
    body = re.search(rf"enum {name} \{{(.*?)\}}", text, flags=re.DOTALL).group(1)
    return set(re.findall(r"= (\d+)", body))


def check_exits(formats):
    text = section(formats, "Exit codes")
    for program, name, header in (("sovrun", "cli_exit", "runner/cli/cli.h"), ("sovrun-trainer", "trainer_exit", "core/job/attempt.h")):
        table = re.search(rf"^\| `{program}` \|.*?(?=\n\n|\Z)", text, flags=re.DOTALL | re.MULTILINE)
        told = set(re.findall(r"^\| (\d+) \|", table.group(0) if table else "", flags=re.MULTILINE))
        codes = exit_codes(source(header), name)
        check(f"FORMATS.md has the exit codes of {program}", told == codes, f"only there: {told - codes}, only in {header}: {codes - told}")


def check_this_test():
    """What it is meant to see, it sees."""
    check("a path that is not there is noticed", missing_paths("see `core/job/{job,jbo}.c`, `trainer/*.h`.") == ["core/job/jbo.c"])
    check("a path of another project is not", missing_paths("*See git `tests/t0000.sh` (`char *x`).*\n") == [])
    check("a target that is not there is noticed", missing_targets("`make MODE=asan tsets`, to make sense") == ["tsets"])
    check("an event is noticed",
          emitted_events({"core/job/job.c": 'x job_event_names[] = { "placed", NULL };', "a.c": 'worker_tell(w, "model.sold", 0)'})
          == {"job.placed", "model.sold"})


def main():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(ROOT)
        check(f"{name}: every path is there", not missing_paths(text), missing_paths(text))
        check(f"{name}: every link leads somewhere", not missing_links(page, text), missing_links(page, text))
        check(f"{name}: every make target is there", not missing_targets(text), missing_targets(text))
    formats, sources = source("docs/FORMATS.md"), program_sources()
    check_events(formats, sources)
    check_state(formats, sources)
    check_routes(formats, sources)
    check_exits(formats)
    check_this_test()
    finish()


if __name__ == "__main__":
    main()
