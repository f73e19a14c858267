#include "base/text.h"

#include <stdio.h>
#include <string.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "base/numbers.h"

static bool reserve(clq_text *text, size_t more) {
    size_t needed;
    if (text->failed) {
        return false;
    }
    if (!clq_add_size(text->size, more, &needed) || !clq_add_size(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity) {
        return true;
    }
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < needed) {
        if (!clq_mul_size(capacity, 2, &capacity)) {
            capacity = needed;
        }
    }
    char *data = clq_realloc(text->data, capacity, 1);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void clq_text_append(clq_text *text, const void *data, size_t size) {
    if (!reserve(text, size)) {
        return;
    }
    if (size) {
        memcpy(text->data + text->size, data, size);
    }
    text->size += size;
    text->data[text->size] = '\0';
}

void clq_text_puts(clq_text *text, const char *string) {
    clq_text_append(text, string, strlen(string));
}

void clq_text_printf(clq_text *text, const char *format, ...) {
    va_list arguments, second;
    va_start(arguments, format);
    va_copy(second, arguments);
    int length = clq_vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        clq_vsnprintf(text->data + text->size, (size_t)length + 1, format, second);
        text->size += (size_t)length;
    }
    va_end(second);
}

clq_status clq_text_status(const clq_text *text) {
    return text->failed
               ? clq_fail(CLQ_NO_MEMORY, "out of memory: a text of over %zu bytes", text->size)
               : CLQ_OK;
}

clq_status clq_text_take(clq_text *text, char **string) {
    if (reserve(text, 0)) {
        text->data[text->size] = '\0';
    }
    clq_status status = clq_text_status(text);
    if (status == CLQ_OK) {
        *string = text->data;
        text->data = NULL;
    }
    clq_text_free(text);
    return status;
}

void clq_text_free(clq_text *text) {
    clq_free(text->data);
    *text = (clq_text){0};
}

const char *clq_plural(int64_t count) {
    return count == 1 ? "" : "s";
}

char *clq_strdup(const char *text) {
    CLQ_NEEDS_OR(NULL, text);
    size_t size = strlen(text) + 1;
    char *copy = clq_realloc(NULL, size, 1);
    if (copy) {
        memcpy(copy, text, size);
    }
    return copy;
}

char *clq_vformat(const char *format, va_list arguments) {
    va_list second;
    va_copy(second, arguments);
    char *text = NULL;
    int length = clq_vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        clq_fail(CLQ_INTERNAL, "cannot format \"%s\"", format);
    } else {
        text = clq_realloc(NULL, (size_t)length + 1, 1);
    }
    if (text) {
        clq_vsnprintf(text, (size_t)length + 1, format, second);
    }
    va_end(second);
    return text;
}

char *clq_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    char *text = clq_vformat(format, arguments);
    va_end(arguments);
    return text;
}

void clq_make_printable(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            *text = '?';
        }
    }
}

/* ---- UTF-8 ---- */

size_t clq_utf8_length(const char *text) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000}; /* in so many bytes */
    const unsigned char *byte = (const unsigned char *)text;
    const size_t length = *byte < 0x80   ? 1
                          : *byte < 0xc0 ? 0
                          : *byte < 0xe0 ? 2
                          : *byte < 0xf0 ? 3
                          : *byte < 0xf8 ? 4
                                         : 0;
    if (length < 2) {
        return length;
    }
    uint32_t point = *byte & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80) { /* the end too */
            return 0;
        }
        point = point << 6 | (byte[i] & 0x3f);
    }
    const bool valid =
        point >= least[length] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
    return valid ? length : 0;
}

bool clq_is_utf8(const char *text) {
    size_t length = 1;
    while (*text && length > 0) {
        length = clq_utf8_length(text);
        text += length;
    }
    return length > 0;
}
