#include "data/csv.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/files.h"
#include "base/numbers.h"
#include "base/text.h"

#define MAX_FILE_BYTES ((size_t)1 << 32)
enum { MAX_COLUMNS = 65536 };

typedef struct parser {
    const char *path;
    char *at;     /* next character */
    int64_t line; /* its line */
    char separator;
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

/* Blanks around a cell. */
static char *skip_blanks(const parser *p, char *at) {
    return at + strspn(at, p->separator == '\t' ? " " : " \t");
}

static bool ends_cell(const parser *p, char c) {
    return c == p->separator || c == '\r' || c == '\n' || c == '\0';
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
    p->at = skip_blanks(p, p->at);
    if (!ends_cell(p, *p->at)) {
        return clq_fail(CLQ_BAD_DATA, "%s:%lld: text behind a closing quote", p->path,
                        (long long)p->line);
    }
    *to = '\0';
    return CLQ_OK;
}

static void plain_cell(parser *p, char **cell) {
    *cell = p->at;
    while (!ends_cell(p, *p->at)) {
        p->at++;
    }
    for (char *end = p->at; end > *cell && strchr(" \t", end[-1]);) {
        *--end = '\0';
    }
}

/* Behind a line's end: "\n", "\r\n", or "\r" alone. */
static void skip_line_end(parser *p, char first) {
    p->at += first == '\r' && *p->at == '\n';
    p->line++;
}

/* One line of cells; p->at is at its first character. */
static clq_status parse_row(parser *p) {
    CLQ_TRY(add_row(p, p->line));
    for (;;) {
        char *cell = NULL;
        p->at = skip_blanks(p, p->at);
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
        if (end != p->separator) {
            skip_line_end(p, end);
            return CLQ_OK;
        }
    }
}

/* ---- what separates the cells ---- */

static const char separators[] = {',', ';', '\t'};
static const char *const separator_names[] = {"comma", "semicolon", "tab"};
enum { SEPARATORS = sizeof separators, TAB = SEPARATORS - 1 };

const char *clq_csv_separator_name(char separator) {
    int i = 0;
    while (i < SEPARATORS - 1 && separators[i] != separator) {
        i++;
    }
    return separator_names[i];
}

/* Counts the separators outside of quotes in the line at `at`; gives where the next one begins. */
static const char *count_separators(const char *at, size_t counts[SEPARATORS]) {
    bool quoted = false;
    for (; *at && (quoted || !strchr("\r\n", *at)); at++) {
        quoted ^= *at == '"';
        for (int i = 0; i < SEPARATORS && !quoted; i++) {
            counts[i] += *at == separators[i];
        }
    }
    return at + (*at == '\r' && at[1] == '\n') + (*at != '\0');
}

bool clq_csv_named(const char *path) {
    return clq_path_has_extension(path, ".csv") || clq_path_has_extension(path, ".tsv");
}

/* The one that the first lines agree on: all have it, equally often. CLQ_BAD_DATA when that is
 * true of two and the file's name does not decide. */
static clq_status find_separator(parser *p) {
    enum { LOOKED_AT = 20 };
    size_t first[SEPARATORS] = {0};
    bool same[SEPARATORS] = {true, true, true};
    int lines = 0, found = -1;
    for (const char *at = p->at; *at && lines < LOOKED_AT;) {
        const char *line = at;
        size_t counts[SEPARATORS] = {0};
        at = count_separators(at, counts);
        line += strspn(line, " \t");
        if (strchr("#\r\n", *line)) { /* or the end */
            continue;
        }
        for (int i = 0; i < SEPARATORS; i++) {
            first[i] = lines == 0 ? counts[i] : first[i];
            same[i] = same[i] && counts[i] == first[i];
        }
        lines++;
    }
    p->separator = ',';
    if (first[TAB] > 0 && same[TAB] && clq_path_has_extension(p->path, ".tsv")) {
        p->separator = separators[TAB];
        return CLQ_OK;
    }
    for (int i = 0; i < SEPARATORS; i++) {
        if (first[i] == 0 || !same[i]) {
            continue;
        }
        if (found >= 0) {
            return clq_fail(
                CLQ_BAD_DATA,
                "%s: its cells could be separated by %ss or by %ss: put cells that hold "
                "the other into quotes, and write numbers with a decimal point",
                p->path, separator_names[found], separator_names[i]);
        }
        found = i;
        p->separator = separators[i];
    }
    if (found < 0) { /* uneven rows: by the first, if it has one kind only */
        for (int i = 0; i < SEPARATORS; i++) {
            const size_t others = first[0] + first[1] + first[2] - first[i];
            p->separator = first[i] > 0 && others == 0 ? separators[i] : p->separator;
        }
    }
    return CLQ_OK;
}

/* ---- rows ---- */

static clq_status parse(parser *p, int *columns) {
    *columns = 0;
    while (*p->at) {
        const size_t blank = strspn(p->at, " \t");
        const size_t before = p->count;
        const int64_t line = p->line;
        if (!strchr("#\r\n", p->at[blank])) {
            CLQ_TRY(parse_row(p));
            const size_t cells = p->count - before;
            if (p->rows == 1) {
                if (cells > MAX_COLUMNS) {
                    return clq_fail(CLQ_BAD_DATA, "%s: %zu columns, at most %d", p->path, cells,
                                    MAX_COLUMNS);
                }
                *columns = (int)cells;
            } else if (cells != (size_t)*columns) {
                return clq_fail(CLQ_BAD_DATA, "%s:%lld: %zu cell%s where the first line has %d",
                                p->path, (long long)line, cells, clq_plural((int64_t)cells),
                                *columns);
            }
            continue;
        }
        p->at += strcspn(p->at, "\r\n");
        if (*p->at) {
            skip_line_end(p, *p->at++);
        }
    }
    return CLQ_OK;
}

bool clq_csv_decimal_comma(const char *cell) {
    cell += *cell == '-' || *cell == '+';
    const char *comma = cell + strspn(cell, "0123456789");
    if (*comma != ',' || (comma == cell && !comma[1])) {
        return false;
    }
    return comma[1 + strspn(comma + 1, "0123456789eE+-")] == '\0';
}

bool clq_csv_blank(const char *cell) {
    return cell[strspn(cell, " \t\r\n")] == '\0';
}

/* How programs write that there is no number. */
static bool is_missing(const char *cell) {
    static const char *const words[] = {"nan", "na", "n/a", "null", "none", "inf", "infinity", "?"};
    cell += *cell == '-' || *cell == '+';
    bool found = *cell == '\0';
    for (size_t i = 0; i < sizeof words / sizeof *words && !found; i++) {
        found = strcasecmp(cell, words[i]) == 0;
    }
    return found;
}

/* See clq_csv.has_header. What stands for a missing number or is a broken one is no word, lest a
 * row of data be taken for a header. */
static bool first_row_is_header(const parser *p, int columns) {
    float value;
    bool any_number = false, any_missing = false;
    for (int i = 0; i < columns; i++) {
        const char *cell = p->cells[i];
        const bool number = clq_csv_number(cell, &value);
        const bool missing = !clq_csv_blank(cell) && is_missing(cell);
        const bool word = !number && !missing && *cell && !strchr("+-.0123456789", *cell);
        any_number |= number;
        any_missing |= missing;
        if (word && p->rows > 1 && clq_csv_number(p->cells[columns + i], &value)) {
            return true;
        }
    }
    return !any_number && !any_missing;
}

static clq_status check_text(void *context, const char *path, const void *head, size_t head_size,
                             uint64_t size) {
    const uint8_t *b = head;
    (void)context;
    (void)size;
    if (head_size >= 2 && ((b[0] == 0xff && b[1] == 0xfe) || (b[0] == 0xfe && b[1] == 0xff))) {
        return clq_fail(CLQ_BAD_DATA, "%s: is text in UTF-16; save it as UTF-8", path);
    }
    return memchr(head, '\0', head_size)
               ? clq_fail(CLQ_BAD_DATA, "%s: holds a NUL: not a text file", path)
               : CLQ_OK;
}

clq_status clq_csv_read(const char *path, clq_csv *csv) {
    void *text = NULL;
    size_t size = 0;
    *csv = (clq_csv){0};
    CLQ_TRY(clq_file_read_checked(path, MAX_FILE_BYTES, check_text, NULL, &text, &size));
    parser p = {.path = path, .at = text, .line = 1};
    csv->text = text;
    clq_status status = check_text(NULL, path, text, size, size);
    if (status == CLQ_OK) {
        p.at += strncmp(p.at, "\xef\xbb\xbf", 3) == 0 ? 3 : 0; /* byte order mark */
        status = find_separator(&p);
    }
    if (status == CLQ_OK) {
        csv->separator = p.separator;
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
