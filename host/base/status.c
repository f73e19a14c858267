/* The thread's last error. A fixed buffer, so that reporting "out of memory" needs none. */
#include "base/numbers.h"
#include "base/text.h"
#include "clquant/base.h"

#include <stdio.h>
#include <string.h>

enum { ERROR_SIZE = 2048 };

static _Thread_local char last_error[ERROR_SIZE];

const char *clq_last_error(void) {
    return last_error;
}

clq_status clq_fail(clq_status status, const char *format, ...) {
    char text[ERROR_SIZE]; /* the arguments may point into last_error */
    va_list arguments;
    va_start(arguments, format);
    int length = clq_vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0) {
        snprintf(text, sizeof text, "%s", format);
    }
    clq_make_printable(text);
    memcpy(last_error, text, sizeof last_error);
    return status;
}

clq_status clq_fail_in(clq_status status, const char *context_format, ...) {
    if (status == CLQ_OK) {
        return status;
    }
    char text[ERROR_SIZE];
    va_list arguments;
    va_start(arguments, context_format);
    int length = clq_vsnprintf(text, sizeof text, context_format, arguments);
    va_end(arguments);
    if (length < 0 || length >= ERROR_SIZE - 2) {
        return status;
    }
    clq_make_printable(text);
    /* An over-long text loses its end: the outer context names the place. */
    size_t used = (size_t)length + 2;
    size_t kept = strlen(last_error);
    if (kept > sizeof text - used - 1) {
        kept = sizeof text - used - 1;
    }
    memcpy(text + length, ": ", 2);
    memcpy(text + used, last_error, kept);
    text[used + kept] = '\0';
    memcpy(last_error, text, sizeof last_error);
    return status;
}
