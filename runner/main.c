/*
 * main.c - `sovrun`: the command that people type, and, as `sovrun attempt`, the supervisor of one attempt.
 */
#include "runner/cli/cli.h"

#include <stddef.h>
#include <string.h>

/* Programs that share this binary with the command line; each has its own `main`. */
static const struct program {
    const char *name;
    int (*run)(int argc, char **argv);
} programs[] = {
    { NULL, cli_main }, /* what is none of the others */
};

int main(int argc, char **argv)
{
    const struct program *p = programs;
    while (p->name && (argc < 2 || strcmp(argv[1], p->name) != 0))
        p++;
    return p->run(argc, argv);
}
