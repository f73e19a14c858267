/* Numbers as text, the same whatever locale the program has set: a decimal point, never a comma.
 * All reading and writing of numbers goes through here; scripts/lint looks after it. */
#ifndef CLQ_BASE_NUMBERS_H
#define CLQ_BASE_NUMBERS_H

#include <locale.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* strtod, strtof and vsnprintf, snprintf in the C locale. */
double clq_strtod(const char *text, char **end);
float clq_strtof(const char *text, char **end);
int clq_vsnprintf(char *out, size_t size, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));
int clq_snprintf(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads the number at the start of `text` and returns what follows it; NULL where there is none, or
 * one that *value cannot hold. Numbers are decimal and begin at once: no blanks, no hexadecimal, no
 * infinities, no NaN; reals may have an exponent, whole numbers have neither that nor a point. */
const char *clq_read_real(const char *text, double *value);
const char *clq_read_whole(const char *text, int64_t *value);

/* Puts this thread into the C locale, around calls of a library that reads or writes numbers;
 * returns what clq_c_locale_end needs to go back. */
locale_t clq_c_locale_begin(void);
void clq_c_locale_end(locale_t before);

#endif
