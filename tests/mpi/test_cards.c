/*
 * test_cards.c - several ranks and their cards, for tests/system/test_cards.sh to run under mpirun. argv[1]
 * says what happens; all ranks must end with the same code and, where they are together, the same text; rank
 * 0 prints it and what was told. Hosts' names are left out: they are the machine's.
 */
#include "base/mem.h"
#include "tests/fake/nvml_world.h"
#include "trainer/cards_parts.h"

#include <stdio.h>
#include <string.h>

enum { RANKS_MAX = 8 };

/* Rank r's card is at place r or, where two ranks share one, r / 2. */
static void card_lines(int rank, const char *more, struct buf *out)
{
    buf_reset(out);
    buf_addf(out, "driver 580\ncard\nuuid GPU-%d\nbus 00000000:%02x:00.0\nuncorrected 0\n%s", rank, rank + 1,
             more);
}

static void print_without_host(const char *text, const char *host)
{
    size_t n = strlen(host);

    for (const char *p; n > 0 && (p = strstr(text, host)); text = p + n)
        printf("%.*sHOST", (int)(p - text), text);
    printf("%s\n", text);
}

static void print_json(json_t *data, const char *host)
{
    CLEANUP(json_donep) json_t *taken = data;
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 << 10);
    struct err e = ERR_INIT;

    if (json_canonical(taken, &text, &e))
        exit(1);
    print_without_host(buf_text(&text), host);
}

/* All ranks have the same before them. */
static void say(struct comm *c, const struct err *how, const char *host)
{
    char all[RANKS_MAX][ERR_TEXT_BYTES], own[ERR_TEXT_BYTES];
    struct err e = ERR_INIT;

    snprintf(own, sizeof(own), "%s: %.900s", how->code == OK ? "ok" : err_name(how->code), how->text);
    if (comm_gather(c, own, sizeof(own), all, &e))
        exit(1);
    for (int r = 0; r < c->size; r++)
        if (strcmp(all[r], own) != 0)
            exit(1);
    if (c->rank == 0)
        print_without_host(own, host);
}

static bool is(const char *what, const char *name)
{
    return strcmp(what, name) == 0;
}

/* The last rank is the one that something befalls. */
static int run(struct comm *c, const char *what)
{
    CLEANUP(cards_closep) struct cards *cards = NULL;
    CLEANUP(buf_done) struct buf lines = BUF_INIT(4096);
    struct nvml_world world;
    struct err e = ERR_INIT;
    char bus[32];
    bool last = c->rank == c->size - 1;
    int place = is(what, "shared") ? c->rank / 2 : c->rank;

    nvml_world_open(&world, "now");
    card_lines(place, last && is(what, "unfit") ? "rows_failed 1\nrows_pending 0\n" : "millijoules 1000\n",
               &lines);
    nvml_world_is(&world, buf_text(&lines));
    snprintf(bus, sizeof(bus), "0000:%02x:00.0", place + 1);
    if (is(what, "cpu") || (is(what, "mixed") && last))
        bus[0] = '\0';
    if (cards_open(c, bus, &cards, &e))
        return 1;
    if (is(what, "cpu"))
        return cards != NULL;
    const char *host = cards->own.host;
    if (cards_check(cards, &e) == OK) {
        card_lines(place, last && is(what, "xid") ? "millijoules 9000\nxid 79\n" : "millijoules 6000\n",
                   &lines);
        nvml_world_is(&world, buf_text(&lines));
        IGNORE(cards_look(cards, CARDS_LOOK_MS, &e));
        IGNORE(comm_agree(c, &e));
    }
    if (is(what, "alone") && !last) { /* the last one fails, and the others wait for it elsewhere */
        struct err e_comm = ERR_INIT;
        int partner = c->size - 1;
        float nothing = 0;
        const struct comm_swap s = { .partner = partner, .into = &nothing, .into_count = 1 };
        IGNORE(c->ops->swap(c, &s, &e_comm));
        return 1;
    }
    if (is(what, "alone"))
        IGNORE(err_set(&e, ERR_DEVICE, "wait for the card: unspecified launch failure"));
    cards_end(cards, &e);
    if (is(what, "alone")) {
        printf("%s, %s\n", c->broken ? "apart" : "together", e.text);
        fflush(stdout);
        comm_abort(c, 1);
    }
    say(c, &e, host);
    if (c->rank == 0)
        print_json(cards_used_json(cards, 0), host);
    nvml_world_close(&world);
    return 0;
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct comm *c = NULL;

    if (comm_mpi_open(&argc, &argv, &c, &e) || c->size > RANKS_MAX || argc != 2)
        return 1;
    int status = run(c, argv[1]);
    if (status == 0)
        comm_close(c);
    return status;
}
