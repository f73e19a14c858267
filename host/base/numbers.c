#include "base/numbers.h"

#include <pthread.h>
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
