#include "runner/cli/stage_lines.h"

#include "base/mem.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { RANGES = 64, UNIT_LINES = 4096 };

struct stage_lines {
    pthread_mutex_t lock;
    uint64_t units; /* of a range */
    uint64_t lines; /* seen: behind the last */
    struct scan_counts ranges[RANGES];
};

struct stage_lines *stage_lines_new(void)
{
    struct stage_lines *l = mem_new(sizeof(*l));
    l->units = 1;
    invariant(pthread_mutex_init(&l->lock, NULL) == 0);
    return l;
}

void stage_lines_free(struct stage_lines *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void double_ranges(struct stage_lines *l)
{
    for (size_t i = 0; i < RANGES; i++) {
        struct scan_counts one = l->ranges[i];
        memset(&l->ranges[i], 0, sizeof(one));
        scan_add(&l->ranges[i / 2], &one);
    }
    l->units *= 2;
}

static void add_unit(struct stage_lines *l, uint64_t line, uint64_t end, const struct scan_counts *counts)
{
    uint64_t unit = line / UNIT_LINES;

    pthread_mutex_lock(&l->lock);
    while (unit / l->units >= RANGES)
        double_ranges(l);
    scan_add(&l->ranges[unit / l->units], counts);
    l->lines = MAX(l->lines, end);
    pthread_mutex_unlock(&l->lock);
}

void stage_lines_scan(struct stage_lines *l, const char *text, size_t n, uint64_t line)
{
    const char *end = text + n;

    while (text < end) {
        struct scan_counts counts = { .values = 0 };
        uint64_t first = line;
        do {
            const char *stop = memchr(text, '\n', (size_t)(end - text));
            stop = stop ? stop : end;
            scan_line(text, (size_t)(stop - text), &counts);
            text = MIN(stop + 1, end);
            line++;
        } while (text < end && line % UNIT_LINES != 0);
        add_unit(l, first, line, &counts);
    }
}

void stage_lines_find(const struct stage_lines *l, struct stage_facts *facts)
{
    facts->scan = SCANNED_LINES;
    for (uint64_t i = 0; i < RANGES; i++) {
        char name[DATASET_NAME_BYTES];
        uint64_t first = i * l->units * UNIT_LINES, end = MIN(first + l->units * UNIT_LINES, l->lines);
        if (first >= l->lines)
            break;
        snprintf(name, sizeof(name), "lines %" PRIu64 "-%" PRIu64, first + 1, end);
        stage_note_findings(facts, name, &l->ranges[i]);
    }
}

static enum data_class class_of(enum scan_group group)
{
    return group == SCAN_VAT          ? CLASS_INTERNAL
           : group == SCAN_BIRTH_DATE ? CLASS_PSEUDONYMIZED
                                      : CLASS_PERSONAL;
}

void stage_note_findings(struct stage_facts *facts, const char *column, const struct scan_counts *counts)
{
    for (size_t kind = 0; kind < scan_kinds(); kind++) {
        struct dataset_finding f = { .count = scan_found(counts, column, kind) };
        if (f.count == 0 || facts->finding_count == DATASET_FINDINGS_MAX)
            continue;
        snprintf(f.column, sizeof(f.column), "%s", column);
        snprintf(f.kind, sizeof(f.kind), "%s", scan_kind_name(kind));
        facts->findings = mem_grow(facts->findings, facts->finding_count + 1, sizeof(f));
        facts->findings[facts->finding_count++] = f;
        facts->class_needed = MAX(facts->class_needed, class_of(scan_kind_group(kind)));
    }
}
