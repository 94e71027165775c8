/*
 * replay.h - a main for a fuzz target, so that `make test` replays what fuzzing has found without a fuzzing
 * engine.
 *
 * A target defines LLVMFuzzerTestOneInput() and ends with REPLAY_MAIN("conf"). The main gives each file of
 * tests/fuzz/corpus/conf, or of the folders in its arguments, to the target, in the order of the names. Under
 * an engine (compiled with -DFUZZ_ENGINE) there is no main: the engine brings its own.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address -DFUZZ_ENGINE -D_GNU_SOURCE -I. tests/fuzz/fuzz_conf.c ... -o
 * fuzz_conf
 *     ./fuzz_conf new/ tests/fuzz/corpus/conf
 */
#ifndef TESTS_FUZZ_REPLAY_H
#define TESTS_FUZZ_REPLAY_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#ifdef FUZZ_ENGINE
#define REPLAY_MAIN(corpus)
#else

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPLAY_BYTES_MAX = 4 * 1024 * 1024 };

static inline int replay_is_file(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static inline bool replay_one(const char *folder, const char *name)
{
    CLEANUP(freep) char *path = path_join(folder, name);
    CLEANUP(buf_done) struct buf text = BUF_INIT(REPLAY_BYTES_MAX);
    struct err e = ERR_INIT;
    if (file_read(path, &text, &e)) {
        printf("not ok - %s\n", e.text);
        return false;
    }
    /* The input at its exact size and on the heap, so that a sanitizer sees one byte too far. */
    uint8_t *exact = malloc(text.len ? text.len : 1);
    for (size_t i = 0; i < text.len; i++)
        exact[i] = text.data[i];
    LLVMFuzzerTestOneInput(exact, text.len);
    free(exact);
    return true;
}

/* One line a folder; a folder without files is a failure, since then nothing was tested. */
static inline bool replay_folder(const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, replay_is_file, alphasort), read = 0;
    for (int i = 0; i < count; i++) {
        read += replay_one(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    bool good = count > 0 && read == count;
    printf("%s - %d files of %s replayed\n", good ? "ok" : "not ok", read, folder);
    return good;
}

#define REPLAY_MAIN(corpus)                                                                                  \
    int main(int argc, char **argv)                                                                          \
    {                                                                                                        \
        bool good = argc > 1 || replay_folder("tests/fuzz/corpus/" corpus);                                  \
        for (int i = 1; i < argc; i++)                                                                       \
            good = replay_folder(argv[i]) && good;                                                           \
        return good ? 0 : 1;                                                                                 \
    }
#endif
#endif
