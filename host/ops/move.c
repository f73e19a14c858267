#include "ops/move.h"

#include <string.h>

#include "ops/quantized_run.h"

/* The plan, as kernels/move/move.cl reads it. */
enum { COUNT, TO_STEP, FIRST, LAST, START, STEP, TABLE, FIELDS };
enum { AXES = 5, TO = AXES * FIELDS, FROM, ROW, PITCH, HEAD };

enum { GRAIN = 4096 }; /* elements that an item handles at least */

struct clq_move {
    clq_device *device;
    clq_buffer *plan;
    int64_t count; /* elements of y that are made, or words of four codes */
    bool words;    /* of four bytes; else codes */
    bool sums;
};

/* An axis of a plan, in elements of y and x. */
typedef struct plan_axis {
    int64_t count, to, first, last, start, step;
    const int32_t *table; /* NULL: by start and step; places, or lists of places */
    int64_t table_size;
} plan_axis;

typedef struct planning {
    plan_axis axis[CLQ_MOVE_AXES + 1];
    int axis_count;
    int64_t from, to, row, pitch;
    int32_t *tables[CLQ_MOVE_AXES]; /* owned */
    bool same_rows, words, sums;
} planning;

/* ---- maps ---- */

void clq_move_strides(const clq_tensor *tensor, int64_t strides[CLQ_MAX_RANK]) {
    const clq_shape *shape = &tensor->shape;
    int64_t stride = tensor->pitch;
    strides[shape->rank - 1] = 1;
    for (int a = shape->rank - 2; a >= 0; a--) {
        strides[a] = stride;
        stride *= shape->dim[a];
    }
}

clq_move_map clq_move_between(const clq_tensor *x, const clq_tensor *y) {
    int64_t from[CLQ_MAX_RANK], to[CLQ_MAX_RANK];
    const int64_t channels = y->shape.dim[y->shape.rank - 1];
    const int missing = y->shape.rank - x->shape.rank;
    clq_move_map map = {.axis_count = y->shape.rank};
    clq_move_strides(x, from);
    clq_move_strides(y, to);
    for (int a = 0; a < map.axis_count; a++) {
        map.axis[a] = (clq_move_axis){.count = y->shape.dim[a],
                                      .to = to[a],
                                      .from_count = a < missing ? 1 : x->shape.dim[a - missing],
                                      .from = a < missing ? 0 : from[a - missing],
                                      .step = 1};
    }
    if (y->pitch != channels) {
        map.row = channels;
        map.pitch = y->pitch;
        map.same_rows = x->shape.dim[x->shape.rank - 1] == channels;
    }
    return map;
}

/* ---- axes of a plan ---- */

static int64_t at_least(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* x's index of element i, or -1. */
static int64_t source_of(const clq_move_axis *axis, int64_t i) {
    const int64_t at = axis->table ? axis->table[i] : axis->start + i * axis->step;
    return at >= 0 && at < axis->from_count ? at : -1;
}

/* The elements that lie in x, of an axis without a table: first <= i < last. */
static void find_bounds(const clq_move_axis *axis, int64_t *first, int64_t *last) {
    const int64_t step = axis->step, start = axis->start, top = axis->from_count - 1;
    *first = 0;
    *last = axis->count;
    if (step > 0) {
        *first = start < 0 ? (-start + step - 1) / step : 0;
        *last = start > top ? 0 : at_most(axis->count, (top - start) / step + 1);
    } else if (step < 0) {
        *first = start > top ? (start - top - step - 1) / -step : 0;
        *last = start < 0 ? 0 : at_most(axis->count, start / -step + 1);
    } else if (start < 0 || start > top) {
        *last = 0;
    }
    *first = at_most(*first, axis->count);
    *last = at_least(*first, *last);
}

static clq_status take_table(planning *p, int axis, int64_t size) {
    p->tables[axis] = clq_calloc((size_t)size, sizeof **p->tables);
    p->axis[axis].table = p->tables[axis];
    p->axis[axis].table_size = size;
    return p->tables[axis] ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status plan_forward(planning *p, const clq_move_map *map) {
    for (int a = 0; a < map->axis_count; a++) {
        const clq_move_axis *m = &map->axis[a];
        plan_axis *axis = &p->axis[a];
        *axis = (plan_axis){.count = m->count, .to = m->to, .last = m->count};
        if (!m->table) {
            axis->start = m->start * m->from;
            axis->step = m->step * m->from;
            find_bounds(m, &axis->first, &axis->last);
            continue;
        }
        CLQ_TRY(take_table(p, a, m->count));
        for (int64_t i = 0; i < m->count; i++) {
            const int64_t at = source_of(m, i);
            p->tables[a][i] = (int32_t)(at < 0 ? -1 : at * m->from);
        }
    }
    p->axis_count = map->axis_count;
    p->from = map->from;
    p->to = map->to;
    p->row = map->row;
    p->pitch = map->pitch;
    p->same_rows = map->same_rows;
    return CLQ_OK;
}

/* Lists of dy's elements for each of dx: where they begin, then they themselves. */
static clq_status plan_lists(planning *p, int a, const clq_move_axis *m) {
    const int64_t heads = m->from_count + 1;
    CLQ_TRY(take_table(p, a, heads + m->count));
    int32_t *head = p->tables[a], *entry = head + heads;
    int32_t *next = clq_calloc((size_t)heads, sizeof *next);
    if (!next) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < m->count; i++) {
        const int64_t at = source_of(m, i);
        if (at >= 0) {
            head[at + 1]++;
        }
    }
    for (int64_t k = 1; k < heads; k++) {
        head[k] += head[k - 1];
    }
    memcpy(next, head, (size_t)heads * sizeof *next);
    for (int64_t i = 0; i < m->count; i++) {
        const int64_t at = source_of(m, i);
        if (at >= 0) {
            entry[next[at]++] = (int32_t)(i * m->to);
        }
    }
    clq_free(next);
    return CLQ_OK;
}

/* dy's element for each of dx, or none. */
static clq_status plan_inverse(planning *p, int a, const clq_move_axis *m) {
    if (!m->table && (m->step == 1 || m->step == -1)) {
        const clq_move_axis back = {.count = m->from_count,
                                    .from_count = m->count,
                                    .start = -m->start * m->step,
                                    .step = m->step};
        p->axis[a].start = back.start * m->to;
        p->axis[a].step = back.step * m->to;
        find_bounds(&back, &p->axis[a].first, &p->axis[a].last);
        return CLQ_OK;
    }
    CLQ_TRY(take_table(p, a, m->from_count));
    for (int64_t k = 0; k < m->from_count; k++) {
        p->tables[a][k] = -1;
    }
    for (int64_t i = 0; i < m->count; i++) {
        const int64_t at = source_of(m, i);
        if (at >= 0) {
            p->tables[a][at] = (int32_t)(i * m->to);
        }
    }
    return CLQ_OK;
}

/* Whether an element of x is several of y. */
static clq_status is_repeated(const clq_move_axis *m, bool *repeated) {
    if (!m->table) {
        *repeated = *repeated || (m->step == 0 && m->count > 1);
        return CLQ_OK;
    }
    bool *seen = clq_calloc((size_t)m->from_count, sizeof *seen);
    if (!seen) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < m->count; i++) {
        const int64_t at = source_of(m, i);
        if (at >= 0) {
            *repeated = *repeated || seen[at];
            seen[at] = true;
        }
    }
    clq_free(seen);
    return CLQ_OK;
}

static clq_status plan_back(planning *p, const clq_move_map *map) {
    for (int a = 0; a < map->axis_count; a++) {
        CLQ_TRY(is_repeated(&map->axis[a], &p->sums));
    }
    for (int a = 0; a < map->axis_count; a++) {
        const clq_move_axis *m = &map->axis[a];
        p->axis[a] = (plan_axis){.count = m->from_count, .to = m->from, .last = m->from_count};
        CLQ_TRY(p->sums ? plan_lists(p, a, m) : plan_inverse(p, a, m));
    }
    p->axis_count = map->axis_count;
    p->from = map->to;
    p->to = map->from;
    return CLQ_OK;
}

/* ---- fewer and longer axes ---- */

static bool is_whole(const plan_axis *axis) {
    return !axis->table && axis->first == 0 && axis->last == axis->count;
}

static void remove_axis(planning *p, int a) {
    memmove(&p->axis[a], &p->axis[a + 1], (size_t)(--p->axis_count - a) * sizeof *p->axis);
}

/* Leaves those of one element out. */
static void drop_axes(planning *p) {
    for (int a = p->axis_count - 1; a >= 0; a--) {
        if (p->axis[a].count == 1 && is_whole(&p->axis[a])) {
            p->from += p->axis[a].start;
            remove_axis(p, a);
        }
    }
}

/* Outermost in y first; those of one element lie anywhere. */
static void sort_axes(planning *p) {
    for (int a = 1; a < p->axis_count; a++) {
        const plan_axis moved = p->axis[a];
        int to = a;
        for (; to > 0 && p->axis[to - 1].count > 1 &&
               (moved.count == 1 || p->axis[to - 1].to < moved.to);
             to--) {
            p->axis[to] = p->axis[to - 1];
        }
        p->axis[to] = moved;
    }
}

/* Takes an axis and the next one inside as one where both tensors go on evenly. */
static void join_axes(planning *p) {
    for (int a = p->axis_count - 2; a >= 0; a--) {
        plan_axis *outer = &p->axis[a];
        const plan_axis *inner = &p->axis[a + 1];
        const int64_t count = inner->count;
        if (!outer->table && is_whole(inner) && outer->to == inner->to * count &&
            outer->step == inner->step * count) {
            *outer = (plan_axis){.count = outer->count * count,
                                 .to = inner->to,
                                 .first = outer->first * count,
                                 .last = outer->last * count,
                                 .start = outer->start + inner->start,
                                 .step = inner->step};
            remove_axis(p, a + 1);
        }
    }
}

/* The kernel's innermost axis goes through y one by one. */
static void add_inner(planning *p) {
    const plan_axis *inner = &p->axis[p->axis_count - 1];
    if (p->axis_count == 0 || (inner->to != 1 && inner->count > 1)) {
        p->axis[p->axis_count++] = (plan_axis){.count = 1, .to = 1, .last = 1, .step = 1};
    }
}

/* Rows of codes that are copied whole are copied with the bytes behind them, which are 0 in x. */
static void widen_rows(planning *p) {
    plan_axis *inner = &p->axis[p->axis_count - 1];
    bool whole = p->row > 0 && p->same_rows && is_whole(inner) && inner->step == 1 &&
                 inner->count == p->row && (p->from + inner->start) % p->pitch == 0 &&
                 p->to % p->pitch == 0;
    for (int a = 0; a < p->axis_count - 1; a++) {
        const plan_axis *axis = &p->axis[a];
        whole = whole && !axis->table && axis->to % p->pitch == 0 && axis->step % p->pitch == 0 &&
                axis->start % p->pitch == 0;
    }
    if (whole) {
        inner->count = inner->last = p->pitch;
        p->row = p->pitch = 0;
    }
}

/* Codes by fours where all that is copied lies so. */
static void take_words(planning *p) {
    enum { CODES = 4 };
    plan_axis *inner = &p->axis[p->axis_count - 1];
    bool fits = p->row == 0 && !inner->table && inner->step == 1 &&
                (p->from + inner->start) % CODES == 0 && p->to % CODES == 0 &&
                inner->count % CODES == 0 && inner->first % CODES == 0 && inner->last % CODES == 0;
    for (int a = 0; a < p->axis_count - 1; a++) {
        const plan_axis *axis = &p->axis[a];
        fits = fits && !axis->table && axis->to % CODES == 0 && axis->step % CODES == 0 &&
               axis->start % CODES == 0;
    }
    if (!fits) {
        return;
    }
    p->words = true;
    p->from = (p->from + inner->start) / CODES;
    p->to /= CODES;
    *inner = (plan_axis){.count = inner->count / CODES,
                         .to = 1,
                         .first = inner->first / CODES,
                         .last = inner->last / CODES,
                         .step = 1};
    for (int a = 0; a < p->axis_count - 1; a++) {
        p->axis[a].to /= CODES;
        p->axis[a].start /= CODES;
        p->axis[a].step /= CODES;
    }
}

/* ---- the plan on the device ---- */

static clq_status write_plan(clq_device *device, const planning *p, clq_buffer **buffer) {
    static const int32_t first_alone[] = {0, 1, 0}; /* the list of an axis of one element */
    const plan_axis missing = {.count = 1,
                               .last = 1,
                               .table = p->sums ? first_alone : NULL,
                               .table_size = p->sums ? 3 : 0};
    int64_t size = HEAD + (AXES - p->axis_count) * missing.table_size;
    for (int a = 0; a < p->axis_count; a++) {
        size += p->axis[a].table_size;
    }
    int32_t *plan = clq_calloc((size_t)size, sizeof *plan);
    if (!plan) {
        return CLQ_NO_MEMORY;
    }
    int64_t end = HEAD;
    for (int k = 0; k < AXES; k++) {
        const int a = k - (AXES - p->axis_count); /* those that are missing are outermost */
        const plan_axis axis = a < 0 ? missing : p->axis[a];
        int32_t *at = plan + (ptrdiff_t)k * FIELDS;
        at[COUNT] = (int32_t)axis.count;
        at[TO_STEP] = (int32_t)axis.to;
        at[FIRST] = (int32_t)axis.first;
        at[LAST] = (int32_t)axis.last;
        at[START] = (int32_t)axis.start;
        at[STEP] = (int32_t)axis.step;
        if (axis.table) {
            at[TABLE] = (int32_t)end;
            memcpy(plan + end, axis.table, (size_t)axis.table_size * sizeof *plan);
            for (int64_t i = 0; p->sums && i <= axis.count; i++) {
                plan[end + i] += (int32_t)(end + axis.count + 1);
            }
            end += axis.table_size;
        }
    }
    plan[TO] = (int32_t)p->to;
    plan[FROM] = (int32_t)p->from;
    plan[ROW] = (int32_t)p->row;
    plan[PITCH] = (int32_t)p->pitch;
    clq_status status = clq_buffer_create(device, (size_t)size * sizeof *plan, buffer);
    if (status == CLQ_OK) {
        status = clq_buffer_write(*buffer, 0, (size_t)size * sizeof *plan, plan);
    }
    clq_free(plan);
    return status;
}

/* `planned`: what planning gave. */
static clq_status finish(clq_device *device, planning *p, clq_status planned, clq_move_kind kind,
                         clq_move **result) {
    clq_status status = planned;
    clq_move *move = clq_calloc(1, sizeof *move);
    *result = NULL;
    if (status != CLQ_OK || !move) {
        status = status != CLQ_OK ? status : CLQ_NO_MEMORY;
        goto cleanup;
    }
    if (!p->sums) {
        drop_axes(p);
    }
    sort_axes(p);
    if (!p->sums) {
        join_axes(p);
        add_inner(p);
    }
    p->words = kind == CLQ_MOVE_FLOATS;
    if (kind == CLQ_MOVE_CODES) {
        widen_rows(p);
        join_axes(p);
        take_words(p);
    }
    if (p->axis_count > AXES) {
        status = clq_fail(CLQ_INTERNAL, "a move over %d axes", p->axis_count);
        goto cleanup;
    }
    *move = (clq_move){.device = device, .words = p->words, .sums = p->sums, .count = 1};
    for (int a = 0; a < p->axis_count; a++) {
        move->count *= p->axis[a].count;
    }
    CLQ_GOTO(status, cleanup, write_plan(device, p, &move->plan));
    *result = move;
    move = NULL;
cleanup:
    clq_move_destroy(move);
    for (int a = 0; a < CLQ_MOVE_AXES; a++) {
        clq_free(p->tables[a]);
    }
    return status;
}

clq_status clq_move_create(clq_device *device, const clq_move_map *map, clq_move_kind kind,
                           clq_move **move) {
    planning p = {.axis_count = 0};
    const clq_status planned = plan_forward(&p, map);
    return finish(device, &p, planned, kind, move);
}

clq_status clq_move_create_back(clq_device *device, const clq_move_map *map, clq_move **move) {
    planning p = {.axis_count = 0};
    const clq_status planned = plan_back(&p, map);
    return finish(device, &p, planned, CLQ_MOVE_FLOATS, move);
}

void clq_move_destroy(clq_move *move) {
    if (move) {
        clq_buffer_release(move->plan);
        clq_free(move);
    }
}

clq_status clq_move_run(const clq_move *m, clq_buffer *x, clq_buffer *y, clq_buffer *fill,
                        clq_buffer *table, bool accumulate) {
    const clq_range range = CLQ_RANGE1(clq_work_items(m->device, m->count, GRAIN));
    clq_kernel *kernel = NULL;
    if (m->sums) {
        CLQ_TRY(clq_kernel_get(m->device, "move_sum_f32", NULL, &kernel));
        return CLQ_LAUNCH(m->device, kernel, range, CLQ_BUF(x), CLQ_BUF(y), CLQ_BUF(m->plan),
                          CLQ_I32(accumulate));
    }
    if (accumulate) {
        CLQ_TRY(clq_kernel_get(m->device, "move_add_f32", NULL, &kernel));
        return CLQ_LAUNCH(m->device, kernel, range, CLQ_BUF(x), CLQ_BUF(y), CLQ_BUF(m->plan));
    }
    if (m->words) {
        CLQ_TRY(clq_kernel_get(m->device, "move_words", NULL, &kernel));
        return CLQ_LAUNCH(m->device, kernel, range, CLQ_BUF(x), CLQ_BUF(y), CLQ_BUF(m->plan),
                          CLQ_BUF(fill));
    }
    CLQ_TRY(clq_kernel_get(m->device, "move_codes", NULL, &kernel));
    return CLQ_LAUNCH(m->device, kernel, range, CLQ_BUF(x), CLQ_BUF(y), CLQ_BUF(m->plan),
                      CLQ_BUF(fill), CLQ_BUF(table));
}

clq_status clq_move_requantize(const clq_move *m, const clq_op_run *run, const clq_tensor *x) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(m->device, "move_requantize", NULL, &kernel));
    return CLQ_LAUNCH(m->device, kernel, CLQ_RANGE1(clq_work_items(m->device, m->count, GRAIN)),
                      CLQ_BUF(x->buffer), CLQ_BUF(run->out.buffer), CLQ_BUF(m->plan),
                      CLQ_TABLES(run), CLQ_I32(clq_table_index(run->graph, x)),
                      CLQ_INDEX(run, out));
}
