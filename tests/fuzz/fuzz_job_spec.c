/* Any text as a job spec: refused with its place, or bound; and then its JSON reads back to the same spec and
 * the same digest. The same text as stored JSON: refused as corrupt, or already in the one form that is
 * written. */
#include "core/job/job_spec.h"
#include "tests/fuzz/replay.h"

#include <string.h>

static void check_stored(const struct job_spec *spec)
{
    CLEANUP(json_donep) json_t *j = job_spec_to_json(spec);
    struct job_spec back;
    struct err e = ERR_INIT;
    char digest[65], again[65];
    invariant(job_spec_from_json(j, &back, &e) == OK);
    job_spec_digest(spec, digest);
    job_spec_digest(&back, again);
    invariant(strcmp(digest, again) == 0);
    invariant(memcmp(spec, &back, sizeof(back)) == 0);
}

static void try_yaml(const uint8_t *data, size_t n)
{
    CLEANUP(conf_freep) struct conf_doc *doc = NULL;
    struct err e = ERR_INIT;
    struct job_spec spec;
    if (conf_parse("f.yaml", data, n, &doc, &e) || job_spec_from_doc(doc, &spec, &e)) {
        invariant(e.code == ERR_USAGE || e.code == ERR_LIMIT);
        invariant(strncmp(e.text, "f.yaml:", 7) == 0);
        return;
    }
    check_stored(&spec);
}

static void try_json(const uint8_t *data, size_t n)
{
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;
    struct job_spec spec;
    if (json_parse(data, n, "f", &j, &e))
        return;
    if (job_spec_from_json(j, &spec, &e)) {
        invariant(e.code == ERR_CORRUPT && strncmp(e.text, "job spec:", 9) == 0);
        return;
    }
    CLEANUP(json_donep) json_t *again = job_spec_to_json(&spec);
    invariant(json_equal(j, again));
    check_stored(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    try_yaml(data, n);
    try_json(data, n);
    return 0;
}

REPLAY_MAIN("job_spec")
