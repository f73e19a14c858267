#include "base/numbers.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static locale_t c_locale; /* never freed: threads may be in it */

static void create(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* is built in: takes no memory */
}

locale_t clq_c_locale_begin(void) {
    pthread_once(&once, create);
    return uselocale(c_locale);
}

void clq_c_locale_end(locale_t before) {
    uselocale(before);
}

double clq_strtod(const char *text, char **end) {
    const locale_t before = clq_c_locale_begin();
    const double value = strtod(text, end);
    clq_c_locale_end(before);
    return value;
}

float clq_strtof(const char *text, char **end) {
    const locale_t before = clq_c_locale_begin();
    const float value = strtof(text, end);
    clq_c_locale_end(before);
    return value;
}

int clq_vsnprintf(char *out, size_t size, const char *format, va_list arguments) {
    const locale_t before = clq_c_locale_begin();
    const int length = vsnprintf(out, size, format, arguments);
    clq_c_locale_end(before);
    return length;
}

int clq_snprintf(char *out, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = clq_vsnprintf(out, size, format, arguments);
    va_end(arguments);
    return length;
}

/* Whether a number begins here, and none in hexadecimal: strtod takes more. */
static bool begins_number(const char *text, bool real) {
    text += *text == '-' || *text == '+';
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        return false;
    }
    text += real && *text == '.';
    return isdigit((unsigned char)*text);
}

const char *clq_read_real(const char *text, double *value) {
    char *end = NULL;
    if (!begins_number(text, true)) {
        return NULL;
    }
    const double number = clq_strtod(text, &end);
    if (!isfinite(number)) {
        return NULL;
    }
    *value = number;
    return end;
}

const char *clq_read_whole(const char *text, int64_t *value) {
    char *end = NULL;
    if (!begins_number(text, false)) {
        return NULL;
    }
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (errno != 0) {
        return NULL;
    }
    *value = number;
    return end;
}
