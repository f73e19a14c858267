/* Resize and Upsample. */
#include <math.h>
#include <string.h>

#include "formats/onnx/operators.h"

typedef struct word {
    const char *text;
    int value;
} word;

static const word modes[] = {{"nearest", CLQ_RESIZE_NEAREST},
                             {"linear", CLQ_RESIZE_LINEAR},
                             {"cubic", CLQ_RESIZE_CUBIC},
                             {NULL, 0}};
static const word coordinates[] = {{"half_pixel", CLQ_RESIZE_HALF_PIXEL},
                                   {"half_pixel_symmetric", CLQ_RESIZE_HALF_PIXEL_SYMMETRIC},
                                   {"pytorch_half_pixel", CLQ_RESIZE_PYTORCH_HALF_PIXEL},
                                   {"align_corners", CLQ_RESIZE_ALIGN_CORNERS},
                                   {"asymmetric", CLQ_RESIZE_ASYMMETRIC},
                                   {"tf_half_pixel_for_nn", CLQ_RESIZE_TF_HALF_PIXEL_FOR_NN},
                                   {"tf_crop_and_resize", CLQ_RESIZE_TF_CROP_AND_RESIZE},
                                   {NULL, 0}};
static const word roundings[] = {{"round_prefer_floor", CLQ_RESIZE_ROUND_PREFER_FLOOR},
                                 {"round_prefer_ceil", CLQ_RESIZE_ROUND_PREFER_CEIL},
                                 {"floor", CLQ_RESIZE_FLOOR},
                                 {"ceil", CLQ_RESIZE_CEIL},
                                 {NULL, 0}};

static const char *text_of(const word *words, int value) {
    for (; words->text && words->value != value; words++) {
    }
    return words->text;
}

static clq_status read_word(onnx_node *node, const char *name, const word *words, int *value) {
    const char *text = text_of(words, *value);
    CLQ_TRY(onnx_attribute_text(node, name, &text));
    for (; words->text; words++) {
        if (strcmp(words->text, text) == 0) {
            *value = words->value;
            return CLQ_OK;
        }
    }
    return onnx_fail(node, "%s \"%.40s\" is not supported", name, text);
}

/* What the file says of the axes of its tensor; a size or scale of 0 is not stated. */
typedef struct sizes {
    int rank;
    int64_t size[ONNX_MAX_RANK];
    float scale[ONNX_MAX_RANK], box_begin[ONNX_MAX_RANK], box_end[ONNX_MAX_RANK];
} sizes;

/* ---- reading: attributes ---- */

static clq_status read_attributes(onnx_node *node, clq_resize_attrs *attrs) {
    int mode = CLQ_RESIZE_NEAREST, place = CLQ_RESIZE_HALF_PIXEL;
    int rounding = CLQ_RESIZE_ROUND_PREFER_FLOOR;
    int64_t outside = 0, antialias = 0;
    if (onnx_input_count(node) == 2) { /* opset 10 */
        place = CLQ_RESIZE_ASYMMETRIC;
        rounding = CLQ_RESIZE_FLOOR;
    }
    CLQ_TRY(read_word(node, "mode", modes, &mode));
    CLQ_TRY(read_word(node, "coordinate_transformation_mode", coordinates, &place));
    CLQ_TRY(read_word(node, "nearest_mode", roundings, &rounding));
    attrs->mode = (clq_resize_mode)mode;
    attrs->coordinates = (clq_resize_coordinates)place;
    attrs->rounding = (clq_resize_rounding)rounding;
    attrs->cubic = -0.75f;
    CLQ_TRY(onnx_attribute_float(node, "cubic_coeff_a", &attrs->cubic));
    CLQ_TRY(onnx_attribute_int(node, "exclude_outside", 0, 1, &outside));
    CLQ_TRY(onnx_attribute_float(node, "extrapolation_value", &attrs->outside));
    CLQ_TRY(onnx_attribute_int(node, "antialias", 0, 1, &antialias));
    attrs->exclude_outside = outside != 0;
    return antialias ? onnx_fail(node, "antialias is not supported") : CLQ_OK;
}

/* ---- reading: sizes ---- */

static clq_status read_axes(onnx_node *node, const onnx_operand *x, int *axes, size_t *count) {
    const int64_t *listed;
    size_t found = 0;
    CLQ_TRY(onnx_attribute_ints(node, "axes", &listed, &found));
    *count = found > 0 ? found : (size_t)x->rank;
    if (*count > (size_t)x->rank) {
        return onnx_fail(node, "axes has %zu numbers, the input %d dimensions", found, x->rank);
    }
    for (size_t i = 0; i < *count; i++) {
        axes[i] = (int)i;
        if (found > 0) {
            CLQ_TRY(onnx_want_axis(node, x, listed[i], &axes[i]));
        }
    }
    return CLQ_OK;
}

/* Floats of a constant input, or none. */
static clq_status read_floats(onnx_loader *load, const onnx_node *node, size_t index,
                              const char *what, size_t wanted, const float **values) {
    const onnx_constant *constant;
    *values = NULL;
    CLQ_TRY(onnx_want_constant(load, node, index, &constant));
    if (!constant || constant->count == 0) {
        return CLQ_OK;
    }
    if (constant->rank > 1 || constant->count != wanted) {
        return onnx_fail(node, "%s has %zu numbers, must have %zu", what, constant->count, wanted);
    }
    return onnx_constant_floats(&load->arena, constant, values);
}

/* keep_aspect_ratio_policy: one scale for all axes, the least or largest that sizes ask for, and
 * sizes that it makes. */
static clq_status keep_aspect(onnx_node *node, const onnx_dims *dims, const int *axes, size_t count,
                              sizes *s) {
    const char *policy = "stretch";
    CLQ_TRY(onnx_attribute_text(node, "keep_aspect_ratio_policy", &policy));
    const bool larger = strcmp(policy, "not_smaller") == 0;
    if (strcmp(policy, "stretch") == 0) {
        return CLQ_OK;
    }
    if (!larger && strcmp(policy, "not_larger") != 0) {
        return onnx_fail(node, "keep_aspect_ratio_policy \"%.40s\" is unknown", policy);
    }
    float scale = 0;
    for (size_t i = 0; i < count; i++) {
        const float own = (float)s->size[axes[i]] / (float)dims->dim[axes[i]];
        scale = i == 0 || (larger ? own > scale : own < scale) ? own : scale;
    }
    for (size_t i = 0; i < count; i++) {
        s->scale[axes[i]] = scale;
        s->size[axes[i]] = (int64_t)roundf(scale * (float)dims->dim[axes[i]]);
    }
    return CLQ_OK;
}

static clq_status read_sizes(onnx_loader *load, onnx_node *node, const onnx_operand *x, bool boxed,
                             sizes *s) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    const bool old = onnx_input_count(node) == 2; /* opset 10 */
    const float *scales, *box = NULL;
    const int64_t *stated = NULL;
    size_t count, stated_count = 0;
    int axes[ONNX_MAX_RANK];
    CLQ_TRY(read_axes(node, x, axes, &count));
    CLQ_TRY(read_floats(load, node, old ? 1 : 2, "scales", count, &scales));
    if (boxed) {
        CLQ_TRY(read_floats(load, node, 1, "roi", 2 * count, &box));
    }
    CLQ_TRY(onnx_want_integers(load, node, 3, "sizes", &stated, &stated_count));
    if ((stated_count > 0) == (scales != NULL) || (boxed && !box) ||
        (stated_count > 0 && stated_count != count)) {
        return onnx_fail(node, "either scales or sizes must be constants, of %zu numbers%s", count,
                         boxed ? ", and roi" : "");
    }
    *s = (sizes){.rank = x->rank};
    for (int k = 0; k < s->rank; k++) {
        s->scale[k] = 1;
    }
    for (size_t i = 0; i < count; i++) {
        s->scale[axes[i]] = scales ? scales[i] : 0;
        s->size[axes[i]] = scales ? 0 : stated[i];
        s->box_begin[axes[i]] = box ? box[i] : 0;
        s->box_end[axes[i]] = box ? box[count + i] : 1;
    }
    return scales ? CLQ_OK : keep_aspect(node, &dims, axes, count, s);
}

/* ---- reading: the node ---- */

/* Whether an axis stays as it is; sizes of a file whose batch is open are for the batch it was
 * made with. */
static bool stays(const onnx_dims *dims, const sizes *s, int k) {
    const bool whole = s->box_begin[k] == 0 && (s->box_end[k] == 1 || s->box_end[k] == 0);
    if (dims->dim[k] == ONNX_BATCH && s->size[k] > 0) {
        return whole;
    }
    return whole && (s->size[k] ? s->size[k] == dims->dim[k] : s->scale[k] == 1);
}

/* Height and width of the graph's image from the file's axes there; false: others are resized. */
static bool set_image(const onnx_loader *load, const onnx_operand *x, const sizes *s,
                      clq_resize_attrs *attrs) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    if (load->graph->values[x->value].shape.rank != 4) {
        return false;
    }
    attrs->scale[0] = attrs->scale[1] = 1; /* of an axis that the file has not */
    attrs->size[0] = attrs->size[1] = 0;
    attrs->box_end[0] = attrs->box_end[1] = 1;
    for (int k = 0; k < s->rank; k++) {
        const int place = x->axis[k] - 1;
        if (place == 0 || place == 1) {
            attrs->size[place] = s->size[k] > INT32_MAX || s->size[k] < 0 ? -1 : (int)s->size[k];
            attrs->scale[place] = s->scale[k];
            attrs->box_begin[place] = s->box_begin[k];
            attrs->box_end[place] = s->box_end[k];
        } else if (!stays(&dims, s, k)) {
            return false;
        }
    }
    return true;
}

static clq_status add_resize(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                             const sizes *s, clq_resize_attrs *attrs) {
    static const int image[4] = {0, 2, 3, 1}, row[4] = {0, -1, 2, 1};
    const int *places = x->rank == 4 ? image : row;
    if (!set_image(load, x, s, attrs)) {
        if (x->rank != 3 && x->rank != 4) {
            return onnx_fail(node, "resizes a tensor of %d dimensions, must be (N, C, H, W)",
                             x->rank);
        }
        CLQ_TRY(onnx_arrange(load, node, x, 4, places));
        if (!set_image(load, x, s, attrs)) {
            return onnx_fail(node, "resizes other axes than height and width");
        }
    }
    return onnx_add_node(load, node, "resize", NULL, attrs, &x->value, 1, x);
}

static clq_status read_resize(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    clq_resize_attrs attrs = {.mode = CLQ_RESIZE_NEAREST};
    sizes s;
    CLQ_TRY(onnx_want_inputs(node, 1, 4));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    CLQ_TRY(read_attributes(node, &attrs));
    CLQ_TRY(read_sizes(load, node, &x, attrs.coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE, &s));
    return add_resize(load, node, &x, &s, &attrs);
}

/* Scales as an attribute (opset 7) or input; pixels as Resize of opset 10 finds them. */
static clq_status read_upsample(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    clq_resize_attrs attrs = {.coordinates = CLQ_RESIZE_ASYMMETRIC, .rounding = CLQ_RESIZE_FLOOR};
    int mode = CLQ_RESIZE_NEAREST;
    const float *scales;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_want_activation(load, node, 0, &x));
    sizes s = {.rank = x.rank};
    CLQ_TRY(read_word(node, "mode", modes, &mode));
    attrs.mode = (clq_resize_mode)mode;
    CLQ_TRY(read_floats(load, node, 1, "scales", (size_t)x.rank, &scales));
    const Onnx__AttributeProto *attribute = onnx_attribute(node, "scales");
    if (!scales && attribute && attribute->n_floats == (size_t)x.rank) {
        scales = attribute->floats;
    }
    if (!scales || attrs.mode == CLQ_RESIZE_CUBIC) {
        return onnx_fail(node,
                         "needs constant scales, one for each of %d dimensions, and the mode "
                         "nearest or linear",
                         x.rank);
    }
    for (int k = 0; k < x.rank; k++) {
        s.scale[k] = scales[k];
        s.box_end[k] = 1;
    }
    return add_resize(load, node, &x, &s, &attrs);
}

/* ---- writing ---- */

/* A scale that makes `out` of `in` pixels as every reader rounds it. It is in the middle of those
 * that do where coordinates do not depend on it. */
static clq_status scale_for(const clq_node *node, const clq_resize_attrs *attrs, int axis,
                            int64_t in, int64_t out, float *scale) {
    const bool free = attrs->coordinates == CLQ_RESIZE_ALIGN_CORNERS;
    *scale =
        attrs->scale[axis] > 0 ? attrs->scale[axis] : ((float)out + (free ? 0.5f : 0)) / (float)in;
    if (attrs->scale[axis] == 0 && floorf((float)in * *scale) < (float)out) {
        *scale = nextafterf(*scale, INFINITY);
    }
    return floorf((float)in * *scale) == (float)out
               ? CLQ_OK
               : clq_fail(CLQ_USAGE,
                          "resize \"%s\": ONNX has no scale that makes %lld pixels of %lld",
                          node->name, (long long)out, (long long)in);
}

static clq_status save_floats(onnx_saver *save, const char *wanted, const float *values,
                              size_t count, const char **name) {
    const int64_t dim = (int64_t)count;
    void *copy;
    CLQ_TRY(clq_arena_take(&save->arena, count, sizeof *values, &copy));
    memcpy(copy, values, count * sizeof *values);
    return onnx_save_tensor(save, wanted, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 1, &dim, copy,
                            count * sizeof *values, name);
}

/* Coordinates that newer opsets have, or none any more. */
static clq_status find_coordinates(onnx_saver *save, const clq_node *node,
                                   clq_resize_attrs *attrs) {
    enum { SYMMETRIC_OPSET = 19 };
    if (attrs->coordinates == CLQ_RESIZE_HALF_PIXEL_SYMMETRIC && save->opset < SYMMETRIC_OPSET) {
        save->opset = SYMMETRIC_OPSET;
    }
    if (attrs->coordinates != CLQ_RESIZE_TF_HALF_PIXEL_FOR_NN) {
        return CLQ_OK;
    }
    if (attrs->mode != CLQ_RESIZE_NEAREST || attrs->rounding != CLQ_RESIZE_FLOOR) {
        return clq_fail(CLQ_USAGE, "resize \"%s\": ONNX of these days has no %s", node->name,
                        text_of(coordinates, (int)attrs->coordinates));
    }
    attrs->coordinates = CLQ_RESIZE_HALF_PIXEL; /* floor((i + 0.5) / scale) all the same */
    attrs->rounding = CLQ_RESIZE_ROUND_PREFER_CEIL;
    return CLQ_OK;
}

/* The policy by which a file's sizes, those of the result, give one scale and these sizes again:
 * they were rounded from a scale that one of them asks for exactly. NULL: there is none. */
static const char *find_policy(const clq_resize_attrs *attrs, const int64_t *x, const int64_t *y) {
    float least = INFINITY, most = 0;
    if (attrs->coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE || attrs->scale[0] <= 0 ||
        attrs->scale[0] != attrs->scale[1]) {
        return NULL;
    }
    for (int axis = 0; axis < 2; axis++) {
        const float own = (float)y[1 + axis] / (float)x[1 + axis];
        least = own < least ? own : least;
        most = own > most ? own : most;
    }
    return least == attrs->scale[0] ? "not_larger" : most == attrs->scale[0] ? "not_smaller" : NULL;
}

/* Whether scales alone do not make the sizes. */
static bool is_rounded(const clq_resize_attrs *attrs, const int64_t *x, const int64_t *y) {
    bool rounded = false;
    for (int axis = 0; axis < 2; axis++) {
        rounded =
            rounded || (attrs->scale[axis] > 0 &&
                        floorf((float)x[1 + axis] * attrs->scale[axis]) != (float)y[1 + axis]);
    }
    return rounded;
}

/* roi, scales and sizes, which follow inputs[0]. Scales do for any batch, as sizes do since axes
 * can be said; of scales and a roi not all readers make the same size. */
static clq_status save_sizes(onnx_saver *save, const clq_node *node, const clq_resize_attrs *attrs,
                             const char *inputs[4], size_t *count, const char **policy) {
    enum { AXES_OPSET = 18 };
    const int64_t *x = save->graph->values[node->inputs[0]].shape.dim;
    const int64_t *y = save->graph->values[node->output].shape.dim;
    inputs[1] = inputs[2] = "";
    *policy = NULL;
    if (attrs->coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE) {
        const float box[4] = {attrs->box_begin[0], attrs->box_begin[1], attrs->box_end[0],
                              attrs->box_end[1]};
        save->opset = save->opset < AXES_OPSET ? AXES_OPSET : save->opset;
        *count = 4;
        CLQ_TRY(save_floats(save, "resize_roi", box, 4, &inputs[1]));
        return onnx_save_longs(save, "resize_sizes", y + 1, 2, &inputs[3]);
    }
    *policy = is_rounded(attrs, x, y) ? find_policy(attrs, x, y) : NULL;
    if (*policy) {
        save->opset = save->opset < AXES_OPSET ? AXES_OPSET : save->opset;
        *count = 4;
        return onnx_save_longs(save, "resize_sizes", y + 1, 2, &inputs[3]);
    }
    float scales[4] = {1, 1, 0, 0};
    for (int axis = 0; axis < 2; axis++) {
        CLQ_TRY(scale_for(node, attrs, axis, x[1 + axis], y[1 + axis], &scales[2 + axis]));
    }
    *count = 3;
    return save_floats(save, "resize_scales", scales, 4, &inputs[2]);
}

static clq_status write_resize(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    static const int height_and_width[2] = {2, 3};
    clq_resize_attrs attrs = *(const clq_resize_attrs *)graph_node->attrs;
    onnx_saver *save = chain->save;
    const char *all[4] = {inputs[0]}, *policy;
    Onnx__NodeProto *node;
    CLQ_TRY(find_coordinates(save, graph_node, &attrs));
    CLQ_TRY(save_sizes(save, graph_node, &attrs, all, &count, &policy));
    onnx_save_plan(chain, "Resize", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, "Resize", all, count, &node));
    CLQ_TRY(onnx_save_text(save, node, "coordinate_transformation_mode",
                           text_of(coordinates, (int)attrs.coordinates)));
    if (attrs.mode == CLQ_RESIZE_CUBIC) {
        CLQ_TRY(onnx_save_float(save, node, "cubic_coeff_a", attrs.cubic));
        CLQ_TRY(onnx_save_int(save, node, "exclude_outside", attrs.exclude_outside));
    }
    if (attrs.coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE) {
        CLQ_TRY(onnx_save_ints(save, node, "axes", height_and_width, 2));
        CLQ_TRY(onnx_save_float(save, node, "extrapolation_value", attrs.outside));
    }
    if (policy) {
        CLQ_TRY(onnx_save_ints(save, node, "axes", height_and_width, 2));
        CLQ_TRY(onnx_save_text(save, node, "keep_aspect_ratio_policy", policy));
    }
    CLQ_TRY(onnx_save_text(save, node, "mode", text_of(modes, (int)attrs.mode)));
    CLQ_TRY(onnx_save_text(save, node, "nearest_mode", text_of(roundings, (int)attrs.rounding)));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_resize_operators[] = {
    {"Resize", .read = read_resize, .op = "resize", .write = write_resize},
    {"Upsample", .read = read_upsample},
    {0},
};
