#include "report/table.h"

#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

enum {
    LEAST_LINE = 20,
    USUAL_LINE = 80,
    LEAST_TEXT = 24, /* characters that a broken text is left */
};

typedef struct table {
    const char *const *headers;
    const int *right;
    const char *const *cells; /* (rows, columns) */
    int columns, rows;
    size_t *widths; /* (columns) characters */
} table;

int clq_line_width(FILE *out) {
    const char *text = getenv("COLUMNS");
    const long said = text ? strtol(text, NULL, 10) : 0;
    struct winsize size;
    if (said >= LEAST_LINE && said <= 10000) {
        return (int)said;
    }
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col >= LEAST_LINE ? size.ws_col
                                                                                   : USUAL_LINE;
}

/* ---- breaking texts ---- */

/* Bytes of the first `count` characters. */
static size_t bytes_of(const char *text, size_t count) {
    size_t bytes = 0;
    while (text[bytes] && (count > 0 || ((unsigned char)text[bytes] & 0xc0) == 0x80)) {
        count -= ((unsigned char)text[bytes] & 0xc0) != 0x80;
        bytes++;
    }
    return bytes;
}

static size_t length_of(const char *text) {
    size_t characters = 0;
    for (; *text; text++) {
        characters += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return characters;
}

/* Bytes of the next line of a text that is longer than `width`: to its last blank, else behind its
 * last mark between words, else as many as fit. */
static size_t line_bytes(const char *text, size_t width) {
    const size_t fit = bytes_of(text, width);
    size_t end = fit;
    while (end > 0 && text[end] != ' ') {
        end--;
    }
    for (size_t i = fit; end == 0 && i > 0; i--) {
        end = strchr("/._-+,", text[i - 1]) ? i : 0;
    }
    return end ? end : fit;
}

/* A copy with a newline behind each `width` characters or less. */
static clq_status break_text(const char *text, size_t width, char **broken) {
    clq_text out = {0};
    while (length_of(text) > width) {
        const size_t bytes = line_bytes(text, width);
        clq_text_append(&out, text, bytes);
        clq_text_puts(&out, "\n");
        text += bytes;
        text += strspn(text, " ");
    }
    clq_text_puts(&out, text);
    return clq_text_take(&out, broken);
}

/* ---- one table ---- */

static struct libscols_column *add_column(struct libscols_table *to, const table *t, int c) {
    const bool text = !t->right[c];
    struct libscols_column *column =
        scols_table_new_column(to, t->headers[c], 0, text ? SCOLS_FL_WRAP : SCOLS_FL_RIGHT);
    if (column && text &&
        (scols_column_set_wrapfunc(column, scols_wrapnl_chunksize, scols_wrapnl_nextchunk, NULL) ||
         scols_column_set_safechars(column, "\n"))) {
        return NULL;
    }
    return column;
}

static clq_status set_cell(struct libscols_line *line, int at, const table *t, int row, int c) {
    char *broken = NULL;
    CLQ_TRY(break_text(t->cells[row * t->columns + c], t->widths[c], &broken));
    const int result = scols_line_set_data(line, (size_t)at, broken);
    clq_free(broken);
    return result == 0 ? CLQ_OK : clq_fail(CLQ_NO_MEMORY, "out of memory for a table");
}

/* Columns 0 and first .. last - 1. */
static clq_status print_part(FILE *out, const table *t, int first, int last) {
    clq_status status = CLQ_OK;
    struct libscols_table *part = scols_new_table();
    bool good = part != NULL && add_column(part, t, 0);
    for (int c = first; c < last && good; c++) {
        good = add_column(part, t, c) != NULL;
    }
    for (int r = 0; r < t->rows && good && status == CLQ_OK; r++) {
        struct libscols_line *line = scols_table_new_line(part, NULL);
        good = line != NULL;
        if (good) {
            status = set_cell(line, 0, t, r, 0);
        }
        for (int c = first; c < last && good && status == CLQ_OK; c++) {
            status = set_cell(line, 1 + c - first, t, r, c);
        }
    }
    if (!good) {
        status = clq_fail(CLQ_NO_MEMORY, "out of memory for a table");
    }
    if (status == CLQ_OK) {
        scols_table_set_stream(part, out);
        scols_table_set_termforce(part, SCOLS_TERMFORCE_NEVER); /* it fits */
        status = scols_print_table(part) == 0 ? CLQ_OK : clq_fail(CLQ_IO, "cannot print a table");
    }
    scols_unref_table(part);
    return status;
}

/* ---- making it fit ---- */

static void measure(table *t) {
    for (int c = 0; c < t->columns; c++) {
        t->widths[c] = length_of(t->headers[c]);
        for (int r = 0; r < t->rows; r++) {
            const size_t width = length_of(t->cells[r * t->columns + c]);
            t->widths[c] = width > t->widths[c] ? width : t->widths[c];
        }
    }
}

static size_t total(const table *t) {
    size_t sum = (size_t)t->columns - 1; /* between columns */
    for (int c = 0; c < t->columns; c++) {
        sum += t->widths[c];
    }
    return sum;
}

/* Takes from the widest text, one character at a time; false when that is not enough. */
static bool shrink_texts(table *t, size_t line) {
    while (total(t) > line) {
        int widest = -1;
        for (int c = 0; c < t->columns; c++) {
            if (!t->right[c] && t->widths[c] > LEAST_TEXT &&
                t->widths[c] > length_of(t->headers[c]) &&
                (widest < 0 || t->widths[c] > t->widths[widest])) {
                widest = c;
            }
        }
        if (widest < 0) {
            return false;
        }
        t->widths[widest]--;
    }
    return true;
}

/* For a table that comes in parts: no text takes more than half a line. */
static void limit_texts(table *t, size_t line) {
    for (int c = 0; c < t->columns; c++) {
        const size_t header = length_of(t->headers[c]);
        const size_t most = line / 2 > header ? line / 2 : header;
        t->widths[c] = !t->right[c] && t->widths[c] > most ? most : t->widths[c];
    }
}

clq_status clq_table_print(FILE *out, const char *const *headers, const int *right_aligned,
                           int columns, const char *const *cells, int rows) {
    const size_t line = (size_t)clq_line_width(out);
    table t = {headers, right_aligned, cells, columns, rows, NULL};
    clq_status status = CLQ_OK;
    t.widths = clq_calloc((size_t)columns, sizeof *t.widths);
    if (!t.widths) {
        return CLQ_NO_MEMORY;
    }
    measure(&t);
    if (!shrink_texts(&t, line)) {
        measure(&t);
        limit_texts(&t, line);
    }
    int first = 1, last;
    do {
        size_t used = t.widths[0];
        for (last = first; last < columns; last++) {
            used += 1 + t.widths[last];
            if (used > line && last > first) {
                break;
            }
        }
        if (first > 1) {
            fputc('\n', out);
        }
        status = print_part(out, &t, first, last);
        first = last;
    } while (first < columns && status == CLQ_OK);
    clq_free(t.widths);
    return status;
}
