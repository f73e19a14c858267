#include "ops/conv/conv_choice.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "device/tuning.h"

enum { MAX_PART = 1 << 24 };

static const char *const kernel_names[CLQ_CONV_KERNEL_COUNT] = {
    "default", "tile", "split", "winograd", "patch", "group", "mma", "depthwise", "gemm",
};

/* The parts that are numbers, in the order of the text. */
static const struct {
    const char *name;
    size_t offset;
    int numbers; /* 1, or 2 with an x between */
} parts[] = {
    {"tile", offsetof(clq_conv_choice, tile), 2},
    {"items", offsetof(clq_conv_choice, items), 2},
    {"block", offsetof(clq_conv_choice, block), 2},
    {"cols", offsetof(clq_conv_choice, cols), 1},
    {"order", offsetof(clq_conv_choice, order), 1},
    {"shares", offsetof(clq_conv_choice, shares), 1},
    {"bits", offsetof(clq_conv_choice, bits), 1},
    {"group", offsetof(clq_conv_choice, group), 1},
};
enum { PART_COUNT = sizeof parts / sizeof *parts };

void clq_conv_choice_text(const clq_conv_choice *choice, char text[CLQ_CHOICE_TEXT]) {
    int at = snprintf(text, CLQ_CHOICE_TEXT, choice->kernel == CLQ_CONV_ANY ? "%s" : "kernel=%s",
                      kernel_names[choice->kernel]);
    for (int i = 0; i < PART_COUNT; i++) {
        const int *value = (const int *)((const char *)choice + parts[i].offset);
        if (value[0] == 0) {
            continue;
        }
        at += snprintf(text + at, CLQ_CHOICE_TEXT - (size_t)at, " %s=%d", parts[i].name, value[0]);
        if (parts[i].numbers == 2) {
            at += snprintf(text + at, CLQ_CHOICE_TEXT - (size_t)at, "x%d", value[1]);
        }
    }
}

/* A number of 1..MAX_PART; moves *text behind it. */
static bool read_number(const char **text, int *value) {
    char *end;
    if (**text < '1' || **text > '9') {
        return false;
    }
    const long number = strtol(*text, &end, 10);
    *text = end;
    *value = (int)number;
    return number <= MAX_PART;
}

/* "tile=5x2"; moves *text behind it. */
static bool read_part(const char **text, clq_conv_choice *choice) {
    for (int i = 0; i < PART_COUNT; i++) {
        const size_t length = strlen(parts[i].name);
        int *value = (int *)((char *)choice + parts[i].offset);
        if (strncmp(*text, parts[i].name, length) != 0 || (*text)[length] != '=') {
            continue;
        }
        *text += length + 1;
        if (value[0] != 0 || !read_number(text, value)) {
            return false;
        }
        return parts[i].numbers == 1 || (*(*text)++ == 'x' && read_number(text, value + 1));
    }
    return false;
}

/* The kernel's name at the beginning; CLQ_CONV_ANY must be spelled out. */
static bool read_kernel(const char **text, clq_conv_choice *choice) {
    const bool named = strncmp(*text, "kernel=", 7) == 0;
    const char *name = named ? *text + 7 : *text;
    const size_t length = strcspn(name, " ");
    for (int k = named; k < (named ? CLQ_CONV_KERNEL_COUNT : 1); k++) {
        if (strlen(kernel_names[k]) == length && memcmp(name, kernel_names[k], length) == 0) {
            choice->kernel = (clq_conv_kernel)k;
            *text = name + length;
            return true;
        }
    }
    return false;
}

bool clq_conv_choice_parse(const char *text, clq_conv_choice *choice) {
    clq_conv_choice read = {0};
    if (!read_kernel(&text, &read)) {
        return false;
    }
    while (*text == ' ') {
        text++;
        if (!read_part(&text, &read)) {
            return false;
        }
    }
    if (*text != '\0') {
        return false;
    }
    *choice = read;
    return true;
}

void clq_conv_add_candidate(clq_conv_candidates *candidates, const clq_conv_choice *choice) {
    for (int i = 0; i < candidates->count; i++) {
        if (memcmp(&candidates->list[i], choice, sizeof *choice) == 0) {
            return;
        }
    }
    if (candidates->count < CLQ_MAX_CANDIDATES) {
        candidates->list[candidates->count++] = *choice;
    }
}

clq_conv_choice clq_conv_scale_items(const clq_conv_choice *choice, int scaling) {
    /* Powers of two for the tiles below each other and side by side. */
    static const int powers[CLQ_ITEM_SCALINGS][2] = {{0, 0},  {1, 0},  {2, 0},  {-1, 0}, {0, 1},
                                                     {0, -1}, {1, -1}, {-1, 1}, {2, -2}};
    clq_conv_choice scaled = *choice;
    for (int i = 0; i < 2; i++) {
        const int power = powers[scaling][i];
        scaled.items[i] = power >= 0 ? choice->items[i] << power
                                     : (choice->items[i] + (1 << -power) - 1) >> -power;
    }
    return scaled;
}

/* ---- in the tuning table ---- */

const char *clq_conv_family_name(clq_conv_family family) {
    return family == CLQ_CONV_INT8 ? "int8" : "f32";
}

/* The output's size when the padding is the same on either side. */
static int even_size(int in, int pad, int kernel, int dilation, int stride) {
    return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

void clq_conv_shape_text(const clq_conv_geometry *g, char text[CLQ_CONV_KEY]) {
    const int n = snprintf(text, CLQ_CONV_KEY, "%dx%dx%dx%d %dx%dx%d s%dx%d p%dx%d d%dx%d g%d",
                           g->n, g->ih, g->iw, g->ic, g->oc, g->kh, g->kw, g->stride_h, g->stride_w,
                           g->pad_top, g->pad_left, g->dilation_h, g->dilation_w, g->groups);
    if (g->oh != even_size(g->ih, g->pad_top, g->kh, g->dilation_h, g->stride_h) ||
        g->ow != even_size(g->iw, g->pad_left, g->kw, g->dilation_w, g->stride_w)) {
        snprintf(text + n, CLQ_CONV_KEY - (size_t)n, " y%dx%d", g->oh, g->ow);
    }
}

void clq_conv_key(const clq_device *device, clq_conv_family family,
                  const clq_conv_geometry *geometry, char key[CLQ_CONV_KEY]) {
    char shape[CLQ_CONV_KEY];
    clq_conv_shape_text(geometry, shape);
    const bool integer = family == CLQ_CONV_INT8;
    snprintf(key, CLQ_CONV_KEY, "%s %.130s%s%s", clq_conv_family_name(family), shape,
             integer ? " " : "", integer ? clq_dot_name(clq_device_get_info(device)->dot) : "");
}

bool clq_conv_tuned(const clq_device *device, const char *key, clq_conv_choice *choice) {
    const char *text = clq_tuning_find(device, key);
    if (text && !clq_conv_choice_parse(text, choice)) {
        clq_log_debug("ignoring the tuned choice \"%s\" of %s: not a choice", text, key);
        return false;
    }
    return text != NULL;
}
