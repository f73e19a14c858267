#include "cli/shapes.h"

#include <stdio.h>
#include <string.h>

#include "base/numbers.h"

enum { SHAPE = CLQ_KEY_LONG + 900, NAME_SIZE = 256 };

static clq_onnx_shape shapes[CLQ_MAX_ENDS];
static char names[CLQ_MAX_ENDS][NAME_SIZE];
static size_t shape_count;

const clq_onnx_shape *clq_shapes_given(size_t *count) {
    *count = shape_count;
    return shapes;
}

/* "NAME=1,3,48,192"; a name may hold a '=' itself. */
static bool read_shape(const char *text, char *name, clq_onnx_shape *shape) {
    const char *equals = strrchr(text, '='), *at = equals ? equals + 1 : NULL;
    const size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0 || length >= NAME_SIZE) {
        return false;
    }
    memcpy(name, text, length);
    name[length] = '\0';
    *shape = (clq_onnx_shape){.input = name};
    for (;;) {
        int64_t number = 0;
        const char *end = clq_read_whole(at, &number);
        if (!end || number < 1 || (*end && *end != ',') || shape->rank == CLQ_MAX_AXES) {
            return false;
        }
        shape->dim[shape->rank++] = number;
        if (!*end) {
            return true;
        }
        at = end + 1;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    if (key != SHAPE) {
        return ARGP_ERR_UNKNOWN;
    }
    if (shape_count == CLQ_MAX_ENDS) {
        return clq_option_fail(state, "--shape may be given %d times", CLQ_MAX_ENDS);
    }
    if (!read_shape(argument, names[shape_count], &shapes[shape_count])) {
        return clq_option_fail(
            state,
            "--shape: must be an input's name and its dimensions, as x=1,3,48,192, is \"%s\"",
            argument);
    }
    shape_count++;
    return 0;
}

static const struct argp_option options[] = {
    {"shape", SHAPE, "NAME=N,C,H,W", 0,
     "Dimensions of an input where the model leaves them open; may come again for others", 0},
    {0},
};
const struct argp clq_shape_argp = {options, parse, NULL, NULL, NULL, NULL, NULL};
