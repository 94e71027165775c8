/* sovrun: the command that people type, and the supervisor of one attempt. */
#include "runner/attempt/attempt_main.h"
#include "runner/cli/cli.h"

#include "base/def.h"

#include <string.h>

/* What shares this binary with the command line. */
static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "attempt", attempt_main }, /* not for people: the scheduler starts it */
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cli_main(argc, argv);
}
