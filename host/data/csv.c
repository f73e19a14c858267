#include "data/csv.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/numbers.h"

#define MAX_FILE_BYTES ((size_t)1 << 32)
enum { MAX_COLUMNS = 65536 };

typedef struct parser {
    const char *path;
    char *at;     /* next character */
    int64_t line; /* its line */
    char **cells; /* all cells so far */
    size_t count, room;
    int64_t *lines;
    size_t rows, row_room;
} parser;

bool clq_csv_number(const char *cell, float *value) {
    char *end = NULL;
    if (*cell == '\0' || strspn(cell, "+-.0123456789eE") != strlen(cell)) {
        return false; /* strtof would also take hexadecimal, infinity and leading blanks */
    }
    *value = clq_strtof(cell, &end);
    return *end == '\0' && isfinite(*value);
}

static clq_status add_cell(parser *p, char *cell) {
    if (p->count == p->room) {
        const size_t room = 2 * p->room + 256;
        char **cells = clq_realloc(p->cells, room, sizeof *cells);
        if (!cells) {
            return CLQ_NO_MEMORY;
        }
        p->cells = cells;
        p->room = room;
    }
    p->cells[p->count++] = cell;
    return CLQ_OK;
}

static clq_status add_row(parser *p, int64_t line) {
    if (p->rows == p->row_room) {
        const size_t room = 2 * p->row_room + 256;
        int64_t *lines = clq_realloc(p->lines, room, sizeof *lines);
        if (!lines) {
            return CLQ_NO_MEMORY;
        }
        p->lines = lines;
        p->row_room = room;
    }
    p->lines[p->rows++] = line;
    return CLQ_OK;
}

/* Takes a quoted cell, undoubling its quotes in place; p->at is behind the opening quote. */
static clq_status quoted_cell(parser *p, char **cell) {
    char *to = p->at;
    const int64_t line = p->line;
    *cell = to;
    for (;;) {
        if (*p->at == '\0') {
            return clq_fail(CLQ_BAD_DATA, "%s:%lld: a quote that is never closed", p->path,
                            (long long)line);
        }
        if (*p->at == '"' && p->at[1] != '"') {
            p->at++;
            break;
        }
        if (*p->at == '"') {
            p->at++;
        }
        p->line += *p->at == '\n';
        *to++ = *p->at++;
    }
    while (*p->at == ' ' || *p->at == '\r') {
        p->at++;
    }
    if (*p->at != ',' && *p->at != '\n' && *p->at != '\0') {
        return clq_fail(CLQ_BAD_DATA, "%s:%lld: text behind a closing quote", p->path,
                        (long long)p->line);
    }
    *to = '\0';
    return CLQ_OK;
}

static void plain_cell(parser *p, char **cell) {
    *cell = p->at;
    p->at += strcspn(p->at, ",\n");
    for (char *end = p->at; end > *cell && strchr(" \t\r", end[-1]);) {
        *--end = '\0';
    }
}

/* One line of cells; p->at is at its first character. */
static clq_status parse_row(parser *p) {
    CLQ_TRY(add_row(p, p->line));
    for (;;) {
        char *cell = NULL;
        p->at += strspn(p->at, " \t");
        if (*p->at == '"') {
            p->at++;
            CLQ_TRY(quoted_cell(p, &cell));
        } else {
            plain_cell(p, &cell);
        }
        CLQ_TRY(add_cell(p, cell));
        const char end = *p->at;
        *p->at = '\0';
        if (end == '\0') {
            return CLQ_OK;
        }
        p->at++;
        if (end == '\n') {
            p->line++;
            return CLQ_OK;
        }
    }
}

static clq_status parse(parser *p, int *columns) {
    *columns = 0;
    while (*p->at) {
        const size_t blank = strspn(p->at, " \t\r");
        if (p->at[blank] == '#') {
            p->at += strcspn(p->at, "\n");
        } else if (p->at[blank] != '\n' && p->at[blank] != '\0') {
            const size_t before = p->count;
            const int64_t line = p->line;
            CLQ_TRY(parse_row(p));
            const size_t cells = p->count - before;
            if (p->rows == 1) {
                if (cells > MAX_COLUMNS) {
                    return clq_fail(CLQ_BAD_DATA, "%s: %zu columns, at most %d", p->path, cells,
                                    MAX_COLUMNS);
                }
                *columns = (int)cells;
            } else if (cells != (size_t)*columns) {
                return clq_fail(CLQ_BAD_DATA, "%s:%lld: %zu cells where the first line has %d",
                                p->path, (long long)line, cells, *columns);
            }
            continue;
        } else {
            p->at += blank;
        }
        if (*p->at == '\n') {
            p->at++;
            p->line++;
        }
    }
    return CLQ_OK;
}

/* See clq_csv.has_header. */
static bool first_row_is_header(const parser *p, int columns) {
    float value;
    bool any_number = false;
    for (int i = 0; i < columns; i++) {
        const bool number = clq_csv_number(p->cells[i], &value);
        any_number |= number;
        if (!number && p->rows > 1 && clq_csv_number(p->cells[columns + i], &value)) {
            return true;
        }
    }
    return !any_number;
}

clq_status clq_csv_read(const char *path, clq_csv *csv) {
    void *text = NULL;
    size_t size = 0;
    *csv = (clq_csv){0};
    CLQ_TRY(clq_file_read(path, MAX_FILE_BYTES, &text, &size));
    parser p = {.path = path, .at = text, .line = 1};
    csv->text = text;
    clq_status status;
    if (memchr(text, '\0', size)) {
        status = clq_fail(CLQ_BAD_DATA, "%s: holds a NUL: not a text file", path);
    } else {
        p.at += strncmp(p.at, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* byte order mark */
        status = parse(&p, &csv->columns);
    }
    if (status == CLQ_OK && p.rows == 0) {
        status = clq_fail(CLQ_BAD_DATA, "%s: no rows in it", path);
    }
    csv->cells = p.cells;
    csv->lines = p.lines;
    if (status != CLQ_OK) {
        clq_csv_free(csv);
        return status;
    }
    csv->rows = (int64_t)p.rows;
    if (first_row_is_header(&p, csv->columns)) {
        csv->has_header = true;
        csv->rows--;
        if (csv->rows == 0) {
            clq_csv_free(csv);
            return clq_fail(CLQ_BAD_DATA, "%s: a header and no rows", path);
        }
    }
    return CLQ_OK;
}

void clq_csv_free(clq_csv *csv) {
    clq_free(csv->text);
    clq_free(csv->cells);
    clq_free(csv->lines);
    *csv = (clq_csv){0};
}
