#include "scheduler/leftover.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/file.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Field 3 is the state, field 6 the session. The name in field 2 may hold spaces and brackets. */
static bool is_member(pid_t pid, pid_t session)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    struct err ignored = ERR_INIT;
    char path[40], state = 0;
    int parent, group, of_session;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (file_read(path, &text, &ignored))
        return false;
    const char *p = strrchr(buf_text(&text), ')');
    if (!p || sscanf(p, ") %c %d %d %d", &state, &parent, &group, &of_session) != 4)
        return false;
    return of_session == (int)session && state != 'Z' && state != 'X';
}

size_t leftover_kill(struct proc_id leader)
{
    struct err ignored = ERR_INIT;
    struct proc_id now;
    struct dirent *entry;
    size_t found = 0;

    if (leader.pid <= 1)
        return 0;
    if (proc_identify(leader.pid, &now, &ignored) == OK && now.start_ticks != leader.start_ticks)
        return 0; /* its number is somebody else's by now */
    DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    while ((entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 1 || pid == getpid() || !is_member(pid, leader.pid))
            continue;
        found++;
        kill(pid, SIGKILL);
    }
    closedir(proc);
    return found;
}
