/* A growable string. Out of memory is sticky: appending goes on as a no-op and the caller looks
 * once, at the end, with clq_text_status. */
#ifndef CLQ_BASE_TEXT_H
#define CLQ_BASE_TEXT_H

#include "clquant/base.h"

typedef struct clq_text {
    char *data; /* NUL-terminated once anything was appended; NULL before */
    size_t size, capacity;
    bool failed;
} clq_text; /* starts zeroed */

void clq_text_printf(clq_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void clq_text_append(clq_text *text, const void *data, size_t size);
void clq_text_puts(clq_text *text, const char *string);

/* CLQ_NO_MEMORY when any append failed. */
clq_status clq_text_status(const clq_text *text);

/* Hands the string over (never NULL on CLQ_OK; clq_free it); `text` is empty then, on failure too.
 */
clq_status clq_text_take(clq_text *text, char **string);

void clq_text_free(clq_text *text); /* leaves it empty and usable */

/* What comes from a file may hold anything: control characters, which a terminal would interpret,
 * become '?'. */
void clq_make_printable(char *text);

/* What a noun has behind `count`: printf("%d layer%s", n, clq_plural(n)). */
const char *clq_plural(int64_t count);

/* ---- UTF-8 ---- */

/* The bytes of the character that `text` begins with; 0 when that is not UTF-8. */
size_t clq_utf8_length(const char *text);
bool clq_is_utf8(const char *text);

/* clq_format with a va_list. */
char *clq_vformat(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

#endif
