/* data stage: plain data into the store, in shards, once it is known what it holds. */
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/data_place.h"
#include "runner/cli/follow.h"
#include "runner/cli/print.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <pwd.h>
#include <string.h>

#define SPOOL_BYTES_DEFAULT ((uint64_t)16 << 30)

struct stage_settings {
    const char *data_class, *owner, *basis, *name, *format, *compress, *override, *shard_bytes, *spool_max;
    const char *tokens, *vocab, *merges;
    int64_t shards, shard_records, token_bytes, parallel;
    bool dry_run, reread;
    struct opt_list columns, missing;
};

/* ---- options ---- */

/* The index of `text` in `names`. */
static enum err_code choose(const char *option, const char *text, const char *const *names, const char *words,
                            int *out, struct err *e)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0) {
            *out = i;
            return OK;
        }
    return err_set(e, ERR_USAGE, "%s '%s': must be %s", option, text, words);
}

static enum err_code read_sizes(const struct stage_settings *s, struct stage_options *out, struct err *e)
{
    uint64_t bytes = 0;
    int given = (s->shards > 0) + (s->shard_records > 0) + (s->shard_bytes != NULL);

    if (given > 1)
        return err_set(e, ERR_USAGE,
                       "--shards, --shard-records and --shard-bytes say the same thing; give one of them");
    if (s->shard_bytes && parse_size(s->shard_bytes, &bytes, e))
        return err_wrap(e, "--shard-bytes");
    if (s->shard_bytes && (bytes < STAGE_SHARD_BYTES_MIN || bytes > STAGE_SHARD_BYTES_MAX))
        return err_set(e, ERR_USAGE, "--shard-bytes '%s': must be from %d KiB to %d MiB", s->shard_bytes,
                       STAGE_SHARD_BYTES_MIN >> 10, STAGE_SHARD_BYTES_MAX >> 20);
    if (s->token_bytes != 0 && s->token_bytes != 2 && s->token_bytes != 4)
        return err_set(e, ERR_USAGE, "--token-bytes must be 2 or 4");
    out->shards = s->shards;
    out->shard_records = s->shard_records;
    out->shard_bytes = (int64_t)bytes;
    out->token_bytes = (int)s->token_bytes;
    return OK;
}

static enum err_code read_missing(const struct stage_settings *s, struct stage_options *out, struct err *e)
{
    for (size_t i = 0; i < s->missing.count; i++) {
        if (i == STAGE_MISSING_MAX)
            return err_set(e, ERR_USAGE, "--missing may be given at most %d times", STAGE_MISSING_MAX);
        out->missing[out->missing_count++] = s->missing.items[i];
    }
    return OK;
}

/* They go into the manifest and into the ledger. */
static enum err_code check_words(const struct stage_settings *s, struct err *e)
{
    const struct {
        const char *option, *text;
        size_t max;
    } words[] = {
        { "--owner", s->owner, DATASET_NAME_BYTES - 1 },
        { "--basis", s->basis, DATASET_NAME_BYTES - 1 },
        { "--name", s->name, DATASET_NAME_BYTES - 1 },
        { "--override", s->override, DATASET_REASON_BYTES - 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        size_t n = words[i].text ? strlen(words[i].text) : 0;
        if (n > words[i].max)
            return err_set(e, ERR_USAGE, "%s: at most %zu bytes", words[i].option, words[i].max);
        if (n > 0 && utf8_valid(words[i].text, n) < n)
            return err_set(e, ERR_USAGE, "%s: not UTF-8", words[i].option);
    }
    if (s->override && !s->override[0])
        return err_set(e, ERR_USAGE, "--override: give the reason");
    return OK;
}

static enum err_code stage_options_of(const struct stage_settings *s, struct stage_options *out,
                                      struct err *e)
{
    const struct passwd *user = getpwuid(geteuid());
    int chosen = CLASS_PERSONAL, compression = COMPRESSION_NONE;
    struct stage_options o = {
        .name = s->name,
        .owner = s->owner ? s->owner
                 : user   ? user->pw_name
                          : "",
        .owner_given = s->owner != NULL,
        .basis = s->basis,
        .columns = &s->columns,
        .parallel = (size_t)s->parallel,
        .dry_run = s->dry_run,
        .reread = s->reread,
    };
    if (check_words(s, e) ||
        (s->data_class && choose("--class", s->data_class, data_class_names,
                                 "public, internal, pseudonymized or personal", &chosen, e)) ||
        (s->compress &&
         choose("--compress", s->compress, compression_names, "none or zstd", &compression, e)) ||
        read_sizes(s, &o, e) || read_missing(s, &o, e))
        return e->code;
    o.data_class = (enum data_class)chosen;
    o.compression = (enum compression)compression;
    *out = o;
    return OK;
}

static enum err_code read_format(const struct stage_settings *s, const struct source *source,
                                 struct stage_options *io, struct err *e)
{
    const char *why;
    int chosen = 0;

    if (s->format) {
        if (choose("--format", s->format, records_format_names, "csv, tokens or text", &chosen, e))
            return e->code;
        io->format = (enum records_format)chosen;
    } else {
        if (records_guess(source, &io->format, &why, e))
            return e->code;
        if (io->format != RECORDS_CSV)
            cli_say("'%s' is taken as %s, %s (--format says otherwise)", source_name(source),
                    records_format_names[io->format], why);
    }
    if (io->format != RECORDS_TOKENS && s->token_bytes)
        return err_set(e, ERR_USAGE, "--token-bytes goes with --format tokens");
    if (io->format != RECORDS_CSV && (s->columns.count || s->missing.count))
        return err_set(e, ERR_USAGE, "--column and --missing go with --format csv");
    if (io->format != RECORDS_TEXT && s->tokens)
        return err_set(e, ERR_USAGE, "--tokens makes tokens of text: say --format text if '%s' is that",
                       source_name(source));
    return OK;
}

/* --tokens, --vocab, --merges. */
static enum err_code read_tokenizer(const struct stage_settings *s, struct stage_tokenizer *out,
                                    struct err *e)
{
    int kind = TOKENIZER_NONE;

    if (s->tokens && choose("--tokens", s->tokens, tokenizer_kind_names, "bytes or bpe", &kind, e))
        return e->code;
    if (s->tokens && kind == TOKENIZER_NONE)
        return err_set(e, ERR_USAGE, "--tokens 'none': must be bytes or bpe; without it the text is stored");
    if (kind != TOKENIZER_BPE && (s->vocab || s->merges))
        return err_set(e, ERR_USAGE, "--vocab and --merges go with --tokens bpe");
    if (kind == TOKENIZER_BPE && !(s->vocab && s->merges))
        return err_set(
            e, ERR_USAGE,
            "--tokens bpe needs --vocab FILE and --merges FILE: GPT-2's vocab.json and merges.txt");
    return kind == TOKENIZER_NONE
               ? OK
               : stage_tokenizer_open((enum tokenizer_kind)kind, s->vocab, s->merges, out, e);
}

/* ---- what is told ---- */

static json_t *findings_json(const struct stage_facts *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->finding_count; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I}", "column", f->findings[i].column, "kind",
                                        f->findings[i].kind, "count", (json_int_t)f->findings[i].count));
    return list;
}

static enum err_code tell_findings(const struct stage_facts *f, struct err *e)
{
    static const char *const headings[] = { "WHERE", "LOOKS LIKE", ">HOW MANY", NULL };
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    char number[48];

    if (f->scan == SCANNED_NONE) {
        cli_say("token files are not scanned for personal data: class them by what the text was");
        return OK;
    }
    if (f->finding_count == 0)
        return OK;
    for (size_t i = 0; i < f->finding_count; i++) {
        print_text_cell(&t, f->findings[i].column);
        print_text_cell(&t, f->findings[i].kind);
        print_text_cell(&t, progress_count((double)f->findings[i].count, number));
    }
    return print_table_out(&t, e);
}

static json_t *result_json(const struct data_place *p, const struct stage_facts *f,
                           const struct stage_options *o, const struct stage_result *r, bool recorded)
{
    const struct stage_tokenizer *t = o->tokenizer;
    return json_pack("{s:s,s:b,s:I,s:I,s:I,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:b,s:b,s:s,s:I,s:o}", "uri",
                     p->uri, "already", (int)r->already, "records", (json_int_t)r->records, "shards",
                     (json_int_t)r->shards, "bytes", (json_int_t)r->bytes, "class",
                     data_class_names[o->data_class], "class_needed", data_class_names[f->class_needed],
                     "format", records_format_names[f->format], "compression",
                     compression_names[o->compression], "digest", r->digest, "stored_bytes",
                     (json_int_t)r->stored_bytes, "sent", (json_int_t)r->sent, "sent_bytes",
                     (json_int_t)r->sent_bytes, "dry_run", (int)o->dry_run, "recorded", (int)recorded,
                     "tokenizer", tokenizer_kind_names[t ? t->kind : TOKENIZER_NONE], "vocabulary",
                     (json_int_t)(t ? tokenizer_size(t->is) : 0), "findings", findings_json(f));
}

static enum err_code tell_staged(const struct data_place *p, const struct stage_options *o,
                                 const struct stage_result *r, struct err *e)
{
    char bytes[NUM_TEXT_BYTES], sent[NUM_TEXT_BYTES], stored[NUM_TEXT_BYTES];

    return print_line(e,
                      "%s %s: %" PRIu64
                      " records in %zu shards, %s, class %s; %s %zu of %zu shards, %s of %s",
                      o->dry_run   ? "would stage"
                      : r->already ? "already there:"
                                   : "staged",
                      p->uri, r->records, r->shards, format_size(r->bytes, bytes),
                      data_class_names[o->data_class], o->dry_run ? "would send" : "sent", r->sent, r->shards,
                      format_size(r->sent_bytes, sent), format_size(r->stored_bytes, stored));
}

/* ---- doing it ---- */

static enum err_code check_place(const struct data_place *p, enum data_class data_class, struct err *e)
{
    if (cluster_is_ledgers(p->cluster, p->bucket, p->prefix))
        return err_set(e, ERR_DENIED, "%s is where the ledger lies: choose another place", p->uri);
    return stage_check_policy(&p->cluster->policy, p->bucket, data_class, e);
}

/* Recorded first, then done: an override that nobody can read of later is none. */
static enum err_code check_class(const struct data_place *p, const struct stage_settings *s,
                                 const struct stage_facts *f, struct stage_options *io,
                                 char actor[DATASET_NAME_BYTES], struct err *e)
{
    struct err refusal = ERR_INIT;

    if (stage_check_class(f, io->data_class, &refusal) == OK) {
        if (s->override)
            cli_say("--override was not needed and is not recorded");
        return OK;
    }
    if (!s->override) {
        *e = refusal;
        return e->code;
    }
    data_actor(actor, DATASET_NAME_BYTES);
    io->override_by = actor;
    io->override_reason = s->override;
    if (!io->dry_run && data_record_override(p, f, io, e)) {
        if (e->code == ERR_IO || e->code == ERR_NOT_FOUND)
            e->code = ERR_RETRY;
        return err_wrap(
            e, "an override must be recorded in the ledger, and the state does not take it (`sovrun up` "
               "starts the services)");
    }
    return OK;
}

/* A staging is recorded where that can be; it does not wait for it. */
static bool note_staged(const struct data_place *p, const struct stage_facts *f,
                        const struct stage_options *o, const struct stage_result *r)
{
    struct err e = ERR_INIT;
    if (o->dry_run || r->already)
        return false;
    if (data_record_staged(p, f, o, r, &e) == OK)
        return true;
    cli_say("staged, but not recorded in the ledger: %s", e.text);
    return false;
}

static enum err_code stage_source(struct cli *c, const struct stage_settings *s, const struct data_place *p,
                                  const struct source *source, const struct stage_options *asked,
                                  struct err *e)
{
    struct stage_options o = *asked; /* an override adds to it */
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_result r = { .already = false };
    char actor[DATASET_NAME_BYTES];

    enum err_code code = stage_survey(source, &o, &facts, e);
    progress_clear(o.progress);
    if (code || (!c->json && tell_findings(&facts, e)) || check_class(p, s, &facts, &o, actor, e))
        return e->code;
    code = stage_send(source, &facts, &p->target, &o, &r, e);
    progress_clear(o.progress);
    if (code)
        return code;
    bool recorded = note_staged(p, &facts, &o, &r);
    if (!s->data_class)
        cli_say("classed as personal, the strictest; --class says otherwise");
    if (!c->json)
        return tell_staged(p, &o, &r, e);
    CLEANUP(json_donep) json_t *doc = result_json(p, &facts, &o, &r, recorded);
    return print_json(doc, e);
}

static enum err_code stage_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    const struct stage_settings *s = settings;
    CLEANUP(data_place_done) struct data_place p = { .cluster = NULL };
    CLEANUP(source_closep) struct source *source = NULL;
    CLEANUP(stage_tokenizer_done) struct stage_tokenizer tokenizer = { .is = NULL };
    struct progress progress = follow_progress(c);
    struct stage_options o = { .name = NULL };
    uint64_t spool_bytes = SPOOL_BYTES_DEFAULT;

    if (stage_options_of(s, &o, e) || read_tokenizer(s, &tokenizer, e) ||
        (s->spool_max && parse_size(s->spool_max, &spool_bytes, e)) ||
        data_place_open(c, a->list[1], &p, e) || check_place(&p, o.data_class, e) ||
        source_open(a->list[0], p.cluster->home, spool_bytes, &source, e) || read_format(s, source, &o, e))
        return e->code;
    o.progress = &progress;
    o.tokenizer = tokenizer.is ? &tokenizer : NULL;
    return stage_source(c, s, &p, source, &o, e);
}

static const struct opt stage_rows[] = {
    OPT_TEXT_ROW(stage_settings, data_class, "class", 'c', "CLASS",
                 "public, internal, pseudonymized or personal [personal]"),
    OPT_TEXT_ROW(stage_settings, owner, "owner", 'o', "WHO", "who answers for the data [you]"),
    OPT_TEXT_ROW(stage_settings, basis, "basis", 'b', "TEXT", "the legal basis of its use"),
    OPT_TEXT_ROW(stage_settings, name, "name", 'n', "NAME", "what it is called [the source's name]"),
    OPT_TEXT_ROW(stage_settings, format, "format", 'f', "FORMAT",
                 "csv, tokens or text [by the name's ending, or the first bytes]"),
    OPT_TEXT_ROW(stage_settings, override, "override", 0, "REASON",
                 "class it lower than what the scan found asks for; it is recorded, with your name"),
    OPT_INT_ROW(stage_settings, shards, "shards", 0, "N", 1, DATASET_SHARDS_MAX,
                "cut it into N equal shards [a CSV of at most 64 MiB: 8]"),
    OPT_INT_ROW(stage_settings, shard_records, "shard-records", 0, "N", 1, INT64_MAX,
                "cut it into shards of N records"),
    OPT_TEXT_ROW(stage_settings, shard_bytes, "shard-bytes", 0, "SIZE",
                 "cut it into shards of about that size, where the content says so [16 MiB]"),
    OPT_TEXT_ROW(stage_settings, compress, "compress", 'z', "HOW", "none or zstd [none]"),
    OPT_INT_ROW(stage_settings, parallel, "parallel", 'p', "N", 1, STAGE_PARALLEL_MAX,
                "threads that scan and send [4]"),
    OPT_FLAG_ROW(stage_settings, dry_run, "dry-run", 0, "scan, plan and compare; send nothing"),
    OPT_FLAG_ROW(stage_settings, reread, "reread", 0,
                 "read what is there and compare its hash, not its length alone: mends what verify found"),
    OPT_INT_ROW(stage_settings, token_bytes, "token-bytes", 0, "N", 2, 4,
                "tokens: bytes of one, 2 or 4 [as a header says, else 2]"),
    OPT_TEXT_ROW(stage_settings, tokens, "tokens", 't', "HOW",
                 "text: store tokens, each a byte (bytes) or by byte-pair encoding (bpe)"),
    OPT_TEXT_ROW(stage_settings, vocab, "vocab", 0, "FILE", "bpe: GPT-2's vocab.json, or one of its form"),
    OPT_TEXT_ROW(stage_settings, merges, "merges", 0, "FILE", "bpe: the merges.txt that goes with it"),
    OPT_LIST_ROW(stage_settings, columns, "column", 0, "NAME=KIND", "take a column as category or numeric"),
    OPT_LIST_ROW(stage_settings, missing, "missing", 0, "TEXT",
                 "a value that stands for \"not known\", beside \"\" and \"?\""),
    OPT_TEXT_ROW(stage_settings, spool_max, "spool-max", 0, "SIZE",
                 "how much of standard input is kept [16 GiB]"),
    OPT_END,
};
const struct cmd cmd_data_stage = {
    .name = "data stage",
    .args = "SOURCE URI",
    .args_min = 2,
    .args_max = 2,
    .help = "put data into the store, in shards",
    .more =
        "SOURCE is a file, a folder of files or - for standard input; what ends in .zst is unpacked. URI is "
        "s3://BUCKET/PREFIX, the address that a job's data.train then names. Only what changed travels: the "
        "same "
        "content again does nothing, and an interrupted staging goes on. A class lower than what the scan "
        "for "
        "personal data finds is refused (exit 3). With --tokens each file is a document: its tokens, then "
        "the "
        "one that ends a document (bpe: <|endoftext|> of the vocabulary). The scan looks at the text.",
    .options = stage_rows,
    .settings_bytes = sizeof(struct stage_settings),
    .run = stage_run,
};
