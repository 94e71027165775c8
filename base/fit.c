#include "base/fit.h"

#include <stdbool.h>
#include <string.h>

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

void text_fit(char *out, size_t out_bytes, const char *text)
{
    static const char gap[] = " ... ";
    size_t n = strlen(text), room = out_bytes - 1;

    if (n <= room) {
        memcpy(out, text, n + 1);
        return;
    }
    size_t front = (room - (sizeof(gap) - 1)) / 2, back = room - (sizeof(gap) - 1) - front;
    while (front > 0 && is_continuation(text[front]))
        front--;
    while (back > 0 && is_continuation(text[n - back]))
        back--;
    memcpy(out, text, front);
    memcpy(out + front, gap, sizeof(gap) - 1);
    memcpy(out + front + sizeof(gap) - 1, text + n - back, back + 1);
}
