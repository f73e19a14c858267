/* A list of labelled images: IMAGE LABEL a line, as benchmarks hand theirs out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "data/dataset.h"

enum {
    MAX_BYTES = 64 << 20, /* of the list */
    MAX_LINE = 4096,
    SEVERAL = -1,      /* classes of that name */
    MAX_LABEL = 99999, /* a number, where nobody says how many classes there are */
};

typedef struct entry {
    const char *image; /* below the folder; in `text` */
    int line;          /* in the list, from 1 */
} entry;

typedef struct class_name {
    const char *name;
    int32_t number;
} class_name;

typedef struct list {
    char *folder;
    const char *file;    /* borrowed, only while opening */
    char *text;          /* the list, each name ended by a NUL */
    entry *entries;      /* (count) */
    class_name *classes; /* (class_count), sorted */
    int class_count;
} list;

static char *image_path(const list *l, int64_t index) {
    return clq_path_join(l->folder, l->entries[index].image);
}

static clq_status get(const void *state, int64_t index, int channels, clq_image *image) {
    return clq_image_read_at(image_path(state, index), channels, image);
}

static void name(const void *state, int64_t index, char *text, size_t size) {
    const list *l = state;
    snprintf(text, size, "%s/%s", l->folder, l->entries[index].image);
}

static void release(void *state) {
    list *l = state;
    clq_free(l->folder);
    clq_free(l->text);
    clq_free(l->entries);
    clq_free(l->classes);
    clq_free(l);
}

/* ---- a line ---- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

/* Ends the text before its last blanks and carriage return; gives its first other character. */
static char *trim(char *text) {
    size_t length = strlen(text);
    while (length > 0 && (is_blank(text[length - 1]) || text[length - 1] == '\r')) {
        text[--length] = '\0';
    }
    while (is_blank(*text)) {
        text++;
    }
    return text;
}

/* Takes out empty parts and "." so that an image has one spelling. False unless the path stays
 * below its folder: relative, and no part of it is "..". */
static bool normalize_path(char *path) {
    char *to = path;
    if (*path == '/') {
        return false;
    }
    for (const char *part = path; *part; part += *part == '/') {
        const size_t length = strcspn(part, "/");
        if (length == 2 && memcmp(part, "..", 2) == 0) {
            return false;
        }
        if (length > 1 || (length == 1 && *part != '.')) {
            if (to > path) {
                *to++ = '/';
            }
            memmove(to, part, length);
            to += length;
        }
        part += length;
    }
    *to = '\0';
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const class_name *)a)->name, ((const class_name *)b)->name);
}

/* The classes by name, for a search. */
static clq_status sort_classes(list *l, const clq_label_list *given) {
    l->class_count = given->classes ? given->class_count : 0;
    l->classes = clq_calloc((size_t)l->class_count, sizeof *l->classes);
    if (!l->classes) {
        return CLQ_NO_MEMORY;
    }
    for (int c = 0; c < l->class_count; c++) {
        l->classes[c] = (class_name){given->classes[c], c};
    }
    qsort(l->classes, (size_t)l->class_count, sizeof *l->classes, by_name);
    for (int c = 1; c < l->class_count; c++) {
        if (by_name(&l->classes[c - 1], &l->classes[c]) == 0) {
            l->classes[c].number = l->classes[c - 1].number = SEVERAL;
        }
    }
    return CLQ_OK;
}

static clq_status read_label(const list *l, int line, const clq_label_list *given, const char *text,
                             int32_t *label) {
    char *end;
    const int most = given->class_count ? given->class_count - 1 : MAX_LABEL;
    const class_name wanted = {text, 0};
    const class_name *found =
        bsearch(&wanted, l->classes, (size_t)l->class_count, sizeof *l->classes, by_name);
    if (found && found->number == SEVERAL) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s:%d: the network has several classes called \"%.100s\"; give a number",
                        l->file, line, text);
    }
    if (found) {
        *label = found->number;
        return CLQ_OK;
    }
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (end == text || *end) {
        return clq_fail(CLQ_BAD_DATA, "%s:%d: the label \"%.100s\" is not a number%s%s", l->file,
                        line, text, given->classes ? " and not a class of the network's" : "",
                        strchr(text, ' ') ? "; a tab ends an image's name that holds blanks" : "");
    }
    if (errno || number < 0 || number > most) {
        return clq_fail(CLQ_BAD_DATA, "%s:%d: the label %.100s is not in 0..%d", l->file, line,
                        text, most);
    }
    *label = (int32_t)number;
    return CLQ_OK;
}

/* Splits a line that says something. */
static clq_status read_line(const list *l, int line, char *text, const clq_label_list *given,
                            const char **image, int32_t *label) {
    char *end = strchr(text, '\t');
    end = end ? end : strchr(text, ' ');
    if (!end) {
        return clq_fail(CLQ_BAD_DATA, "%s:%d: must be IMAGE LABEL, is \"%.100s\"", l->file, line,
                        text);
    }
    *end = '\0';
    text = trim(text);
    if (!normalize_path(text)) {
        return clq_fail(CLQ_BAD_DATA, "%s:%d: \"%.200s\" does not lie below %s", l->file, line,
                        text, l->folder);
    }
    *image = text;
    return read_label(l, line, given, trim(end + 1), label);
}

/* ---- the file ---- */

static clq_status add_entry(clq_source *source, size_t *room, entry e, int32_t label) {
    list *l = source->state;
    if ((size_t)source->count == *room) {
        const size_t grown = 2 * *room + 1024;
        entry *entries = clq_realloc(l->entries, grown, sizeof *entries);
        if (!entries) {
            return CLQ_NO_MEMORY;
        }
        l->entries = entries;
        int32_t *labels = clq_realloc(source->labels, grown, sizeof *labels);
        if (!labels) {
            return CLQ_NO_MEMORY;
        }
        source->labels = labels;
        *room = grown;
    }
    l->entries[source->count] = e;
    source->labels[source->count++] = label;
    return CLQ_OK;
}

static clq_status parse(clq_source *source, char *text, size_t size, const clq_label_list *given) {
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as some editors write it */
    const list *l = source->state;
    char *const end = text + size;
    size_t room = 0;
    CLQ_TRY(clq_file_check_text(l->file, "a list, IMAGE LABEL a line", text, size));
    char *at = size >= 3 && memcmp(text, mark, 3) == 0 ? text + 3 : text;
    for (int line = 1; at < end; line++) {
        char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        if (stop - at > MAX_LINE || memchr(at, '\0', (size_t)(stop - at))) {
            return clq_fail(CLQ_BAD_DATA,
                            "%s:%d: not a line of text of at most %d bytes; a list of labels has "
                            "IMAGE LABEL a line",
                            l->file, line, MAX_LINE);
        }
        *stop = '\0';
        char *words = trim(at);
        at = stop + 1;
        if (*words && *words != '#') {
            entry e = {.line = line};
            int32_t label = 0;
            CLQ_TRY(read_line(l, line, words, given, &e.image, &label));
            CLQ_TRY(add_entry(source, &room, e, label));
        }
    }
    return source->count > 0 ? CLQ_OK : clq_fail(CLQ_BAD_DATA, "%s: names no image", l->file);
}

/* ---- checks over all entries ---- */

static int by_image(const void *a, const void *b) {
    const entry *left = a, *right = b;
    const int order = strcmp(left->image, right->image);
    return order ? order : (left->line > right->line) - (left->line < right->line);
}

static clq_status check_duplicates(const list *l, int64_t count) {
    clq_status status = CLQ_OK;
    entry *sorted = clq_calloc((size_t)count, sizeof *sorted);
    if (!sorted) {
        return CLQ_NO_MEMORY;
    }
    memcpy(sorted, l->entries, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_image);
    for (int64_t i = 1; i < count && status == CLQ_OK; i++) {
        if (strcmp(sorted[i].image, sorted[i - 1].image) == 0) {
            status = clq_fail(CLQ_BAD_DATA, "%s:%d: \"%.200s\" stands in line %d already", l->file,
                              sorted[i].line, sorted[i].image, sorted[i - 1].line);
        }
    }
    clq_free(sorted);
    return status;
}

/* All of them, so that a wrong list does not fail in the middle of a run. */
static clq_status check_images(const list *l, int64_t count) {
    clq_status status = CLQ_OK;
    for (int64_t i = 0; i < count && status == CLQ_OK; i++) {
        char *path = image_path(l, i);
        if (!path) {
            return CLQ_NO_MEMORY;
        }
        if (!clq_file_exists(path) || clq_is_folder(path)) {
            status = clq_fail(CLQ_NO_INPUT, "%s:%d: there is no image %s", l->file,
                              l->entries[i].line, path);
        }
        clq_free(path);
    }
    return status;
}

static void count_classes(const clq_label_list *given, clq_source *source) {
    source->class_count = given->class_count;
    for (int64_t i = 0; given->class_count == 0 && i < source->count; i++) {
        if (source->labels[i] >= source->class_count) {
            source->class_count = source->labels[i] + 1;
        }
    }
}

clq_status clq_list_open(const char *folder, const clq_label_list *given, clq_source *source) {
    void *data = NULL;
    size_t size = 0;
    if (!clq_is_folder(folder)) {
        return clq_fail(CLQ_BAD_DATA, "%s: must be the folder that the images of %s are in", folder,
                        given->file);
    }
    list *l = clq_calloc(1, sizeof *l);
    if (!l) {
        return CLQ_NO_MEMORY;
    }
    source->state = l;
    source->release = release;
    source->get = get;
    source->name = name;
    source->kind = "list";
    source->unsplit = true;
    source->channels = 3;
    source->constants = "imagenet";
    l->file = given->file;
    l->folder = clq_strdup(folder);
    if (!l->folder) {
        return CLQ_NO_MEMORY;
    }
    if (given->classes) {
        CLQ_TRY(clq_source_set_names(source, l->file, given->classes, given->class_count));
    }
    CLQ_TRY(sort_classes(l, given));
    CLQ_TRY(clq_file_read(given->file, MAX_BYTES, &data, &size));
    l->text = data;
    CLQ_TRY(parse(source, l->text, size, given));
    if (source->count > INT32_MAX) {
        return clq_fail(CLQ_BAD_DATA, "%s: more than %d images", l->file, INT32_MAX);
    }
    CLQ_TRY(check_duplicates(l, source->count));
    CLQ_TRY(check_images(l, source->count));
    count_classes(given, source);
    l->file = NULL;
    return CLQ_OK;
}
