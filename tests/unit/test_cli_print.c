/* What people see: text made fit for a terminal, tables, progress. */
#include "base/mem.h"
#include "runner/cli/print.h"
#include "runner/cli/progress.h"
#include "runner/cli/utf8.h"
#include "tests/test.h"

#include <math.h>
#include <string.h>

/* ---- text ---- */

static const struct text_row {
    const char *name, *text;
    size_t columns; /* to fit into */
    const char *want;
} text_rows[] = {
    { "text that fits stays as it is", "abc", 3, "abc" },
    { "text that does not fit ends in an ellipsis", "abcdef", 4, "abc…" },
    { "nothing fits into no columns", "abc", 0, "" },
    { "a wide character takes two columns", "日本語", 6, "日本語" },
    { "a wide character is not halved", "日本語", 4, "日…" },
    { "a combining mark takes none",
      "e\xcc\x81"
      "a",
      2,
      "e\xcc\x81"
      "a" },
    { "an escape sequence becomes harmless", "\033[2Jx", 9, "?[2Jx" },
    { "a line's end becomes a mark", "a\nb", 9, "a?b" },
    { "a byte that is no UTF-8 becomes a mark",
      "a\xff"
      "b",
      9, "a?b" },
    { "a cut sequence becomes marks", "a\xe6\x97", 9, "a??" },
    { "an overlong form becomes marks", "\xc0\xaf", 9, "??" },
    { "a surrogate becomes marks", "\xed\xa0\x80", 9, "???" },
    { "what turns the line's direction becomes a mark",
      "a\xe2\x80\xae"
      "b",
      9, "a?b" },
};

static void text_fits(void **state)
{
    const struct text_row *row = *state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(256);
    utf8_fit(row->text, row->columns, &out);
    assert_string_equal(buf_text(&out), row->want);
    assert_true(utf8_columns(buf_text(&out)) <= row->columns);
}

static void lines_are_kept_where_asked(void **state)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(256);
    (void)state;
    utf8_clean("a\tb\n\033c\r", 7, true, &out);
    assert_string_equal(buf_text(&out), "a\tb\n?c?");
}

static void validity_is_judged_by_every_byte(void **state)
{
    (void)state;
    assert_int_equal(utf8_valid("Grüße 日本\n", strlen("Grüße 日本\n")), strlen("Grüße 日本\n"));
    assert_int_equal(utf8_valid("", 0), 0);
    assert_int_equal(utf8_valid("a\xc3", 2), 1);
    assert_int_equal(utf8_valid("\xf5\x80\x80\x80", 4), 0);
    assert_int_equal(utf8_valid("\xf4\x90\x80\x80", 4), 0);
}

/* ---- tables ---- */

static const char *const headings[] = { "NAME", ">COUNT", "WHY", NULL };

static struct print_table small_table(void)
{
    struct print_table t = print_table_new(headings);
    print_text_cell(&t, "ä");
    print_cell(&t, COLOUR_GOOD, "%d", 12345);
    print_text_cell(&t, "because it is long");
    print_text_cell(&t, "日本");
    print_cell(&t, COLOUR_NONE, "%d", 7);
    print_text_cell(&t, "");
    return t;
}

static const struct table_row {
    const char *name;
    size_t width;
    bool colours;
    const char *want;
} table_rows[] = {
    { "columns are as wide as their widest cell, numbers stand to the right", 0, false,
      "NAME  COUNT  WHY\n"
      "ä     12345  because it is long\n"
      "日本      7\n" },
    { "on a narrow terminal the last column gives way", 25, false,
      "NAME  COUNT  WHY\n"
      "ä     12345  because it …\n"
      "日本      7\n" },
    { "but not to nothing", 10, false,
      "NAME  COUNT  WHY\n"
      "ä     12345  because…\n"
      "日本      7\n" },
    { "colours do not count as width", 0, true,
      "\033[2mNAME\033[0m  \033[2mCOUNT\033[0m  \033[2mWHY\033[0m\n"
      "ä     \033[32m12345\033[0m  because it is long\n"
      "日本      7\n" },
};

static void table_is_laid(void **state)
{
    const struct table_row *row = *state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    CLEANUP(print_table_done) struct print_table t = small_table();
    print_table_lay(&t, row->width, row->colours, &out);
    assert_string_equal(buf_text(&out), row->want);
}

static void ages_have_one_unit(void **state)
{
    static const struct {
        int64_t ms;
        const char *want;
    } rows[] = { { -5, "0s" }, { 999, "0s" }, { 61000, "1m" }, { 7200000, "2h" }, { 90000000, "1d" } };
    char out[32];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(print_age(rows[i].ms, out), rows[i].want);
    assert_string_equal(print_time(0, out), "-");
    assert_string_equal(print_time(1795358396499, out), "2026-11-22 14:39:56");
}

/* ---- progress ---- */

static const struct progress_view running = {
    .name = "credit",
    .id = "261122-k3m9qz",
    .state = "running",
    .phase = "train",
    .attempt = 1,
    .batch = 64,
    .has_pulse = true,
    .step = 250,
    .steps = 1000,
    .epoch = 10,
    .epochs = 40,
    .checkpoint_step = 200,
    .loss = 0.53125,
    .records_per_second = 1600,
};

static const struct line_row {
    const char *name;
    size_t columns;
    void (*change)(struct progress_view *v);
    const char *want;
} line_rows[];

static void nothing(struct progress_view *v)
{
    (void)v;
}

static void is_queued(struct progress_view *v)
{
    *v = (struct progress_view){
        .name = "credit", .id = "261122-k3m9qz", .state = "queued", .checkpoint_step = -1
    };
    memcpy(v->reason, "2 jobs are ahead", 17);
}

static void has_no_step(struct progress_view *v)
{
    v->step = v->steps = 0;
    v->checkpoint_step = -1;
    v->records_per_second = 0;
    v->loss = NAN;
    memcpy(v->phase, "restore", 8);
}

static void is_second(struct progress_view *v)
{
    v->attempt = 2;
}

static void has_diverged(struct progress_view *v)
{
    v->loss = NAN;
}

static void is_evaluating(struct progress_view *v)
{
    memcpy(v->phase, "evaluate", 9);
}

static void is_of_tokens(struct progress_view *v)
{
    v->context = 64;
}

static const struct line_row line_rows[] = {
    { "a running job shows all it knows", 0, nothing,
      "261122-k3m9qz credit  running  step 250/1000 (25%)  loss 0.5312  ETA 30.0s  epoch 10/40  "
      "1,600 records/s  checkpoint 200" },
    { "it is cut to the terminal, one column less", 40, nothing, "261122-k3m9qz credit  running  step 25…" },
    { "a waiting job says why", 0, is_queued, "261122-k3m9qz credit  queued  2 jobs are ahead" },
    { "before the first step there is only the phase", 0, has_no_step,
      "261122-k3m9qz credit  running  restore" },
    { "a later attempt is named", 0, is_second,
      "261122-k3m9qz credit  running (attempt 2)  step 250/1000 (25%)  loss 0.5312  ETA 30.0s  epoch 10/40  "
      "1,600 records/s  checkpoint 200" },
    { "a loss that is no number is left out", 0, has_diverged,
      "261122-k3m9qz credit  running  step 250/1000 (25%)  ETA 30.0s  epoch 10/40  1,600 records/s  "
      "checkpoint 200" },
    { "a language model counts tokens", 0, is_of_tokens,
      "261122-k3m9qz credit  running  step 250/1000 (25%)  loss 0.5312  ETA 30.0s  epoch 10/40  "
      "102,400 tokens/s  checkpoint 200" },
    { "no ETA when it is not training", 0, is_evaluating,
      "261122-k3m9qz credit  running  step 250/1000 (25%)  loss 0.5312  epoch 10/40  1,600 records/s  "
      "checkpoint 200  evaluate" },
};

static void line_is_written(void **state)
{
    const struct line_row *row = *state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    struct progress_view v = running;
    row->change(&v);
    progress_line(&v, row->columns, &out);
    assert_string_equal(buf_text(&out), row->want);
}

static void a_pulse_of_an_earlier_attempt_does_not_count(void **state)
{
    struct progress_view v;
    CLEANUP(json_donep)
    json_t *shown = json_pack("{s:{s:s,s:s,s:i,s:{s:s,s:{s:i}}},s:{s:i,s:i,s:i,s:n}}", "job", "id", "j",
                              "state", "running", "attempts", 2, "spec", "name", "n", "train", "batch", 8,
                              "pulse", "attempt", 1, "step", 5, "steps", 9, "loss");
    (void)state;
    progress_view_of(shown, &v);
    assert_false(v.has_pulse);
    json_object_set_new(json_object_get(shown, "pulse"), "attempt", json_integer(2));
    progress_view_of(shown, &v);
    assert_true(v.has_pulse);
    assert_int_equal(v.step, 5);
    assert_true(isnan(v.loss));
    assert_int_equal(progress_eta_ms(&v), -1);
}

struct sink {
    char *text;
    size_t n;
    FILE *file;
};

static void sink_open(struct sink *s)
{
    s->file = open_memstream(&s->text, &s->n);
    assert_non_null(s->file);
}

static void sink_is(struct sink *s, const char *want)
{
    fclose(s->file);
    assert_string_equal(s->text, want);
    free(s->text);
}

static void terminal_redraws_four_times_a_second(void **state)
{
    struct clock_fake clock = clock_fake_at(1000000);
    struct sink s = { NULL, 0, NULL };
    sink_open(&s);
    struct progress p = progress_new(s.file, 30, &clock.base);
    struct progress_view v = running;
    (void)state;
    progress_show(&p, &v);
    clock.mono += 100;
    progress_show(&p, &v); /* too soon */
    clock.mono += 200;
    progress_show(&p, &v);
    progress_clear(&p);
    progress_clear(&p); /* nothing is there any more */
    sink_is(&s, "\r\033[K261122-k3m9qz credit  runnin…\r\033[K261122-k3m9qz credit  runnin…\r\033[K");
}

static void plain_log_gets_changes_and_a_line_every_ten_seconds(void **state)
{
    struct clock_fake clock = clock_fake_at(1000000);
    struct sink s = { NULL, 0, NULL };
    sink_open(&s);
    struct progress p = progress_new(s.file, 0, &clock.base);
    struct progress_view v;
    (void)state;
    is_queued(&v);
    v.reason[0] = '\0';
    progress_show(&p, &v);
    clock.mono += 5000;
    progress_show(&p, &v); /* no news */
    memcpy(v.state, "starting", 9);
    progress_show(&p, &v);
    clock.mono += PROGRESS_PLAIN_MS;
    progress_show(&p, &v);
    progress_clear(&p);
    progress_say(&p, "bye %d", 1);
    sink_is(&s, "261122-k3m9qz credit  queued\n261122-k3m9qz credit  starting\n261122-k3m9qz credit  "
                "starting\nbye 1\n");
}

static void silence_is_silent(void **state)
{
    struct progress p = progress_new(NULL, 80, &clock_real);
    (void)state;
    progress_show(&p, &running);
    progress_note(&p, "x");
    progress_say(&p, "y");
    progress_clear(&p);
}

static void counts_have_commas(void **state)
{
    char out[48];
    (void)state;
    assert_string_equal(progress_count(0, out), "0");
    assert_string_equal(progress_count(999, out), "999");
    assert_string_equal(progress_count(1234567.4, out), "1,234,567");
    assert_string_equal(progress_count(NAN, out), "-");
}

int main(void)
{
    static struct CMUnitTest tests[ARRAY_LEN(text_rows) + ARRAY_LEN(table_rows) + ARRAY_LEN(line_rows) + 8];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(text_rows); i++)
        tests[n++] = (struct CMUnitTest){ text_rows[i].name, text_fits, NULL, NULL, (void *)&text_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(table_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ table_rows[i].name, table_is_laid, NULL, NULL, (void *)&table_rows[i] };
    for (size_t i = 0; i < ARRAY_LEN(line_rows); i++)
        tests[n++] =
            (struct CMUnitTest){ line_rows[i].name, line_is_written, NULL, NULL, (void *)&line_rows[i] };
    const struct CMUnitTest others[] = {
        cmocka_unit_test(lines_are_kept_where_asked),
        cmocka_unit_test(validity_is_judged_by_every_byte),
        cmocka_unit_test(ages_have_one_unit),
        cmocka_unit_test(a_pulse_of_an_earlier_attempt_does_not_count),
        cmocka_unit_test(terminal_redraws_four_times_a_second),
        cmocka_unit_test(plain_log_gets_changes_and_a_line_every_ten_seconds),
        cmocka_unit_test(silence_is_silent),
        cmocka_unit_test(counts_have_commas),
    };
    memcpy(tests + n, others, sizeof(others));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
