#include "scheduler/text_json.h"

#include "base/mem.h"

json_t *text_json(const char *text)
{
    json_t *j = json_string(text);

    if (!j) {
        CLEANUP(freep) char *plain = mem_text(text);
        for (char *p = plain; *p; p++)
            if ((unsigned char)*p >= 0x80)
                *p = '?';
        j = json_string(plain);
    }
    invariant(j);
    return j;
}
