/* Self-tests of the kernels that move elements: maps that take each of their ways, and the same as
 * plain loops over the map. */
#include <string.h>

#include "kernels/include/scales.h"
#include "ops/move.h"
#include "ops/self_test.h"

/* x (ROWS, PIXELS, CHANNELS), which lie `PITCH` apart where they are codes. */
enum { ROWS = 2, PIXELS = 3, CHANNELS = 23, PITCH = 24, X = ROWS * PIXELS * PITCH, MOST = 400 };
enum { AX, AY, APLAN, AFILL, ATABLE };

static const int32_t mirrored[] = {2, 1, 0, 1, 2, -1, 0};

/* Rows of channels as they are, between others of the fill. */
static const clq_move_map rows = {3,
                                  {{ROWS, 7 * PITCH, ROWS, PIXELS *PITCH, 0, 1, NULL},
                                   {7, PITCH, PIXELS, PITCH, 0, 1, mirrored},
                                   {CHANNELS, 1, CHANNELS, 1, 0, 1, NULL}},
                                  0,
                                  0,
                                  CHANNELS,
                                  PITCH,
                                  false};
/* Channels outside, pixels inside, and behind the last one nothing. */
static const clq_move_map turned = {3,
                                    {{ROWS, CHANNELS * 4, ROWS, PIXELS *PITCH, 0, 1, NULL},
                                     {CHANNELS, 4, CHANNELS, 1, CHANNELS - 1, -1, NULL},
                                     {4, 1, PIXELS, PITCH, 0, 1, NULL}},
                                    0,
                                    0,
                                    0,
                                    0,
                                    false};
/* By fours: channels 4 .. 19 of each pixel. */
static const clq_move_map fours = {
    2,    {{ROWS * PIXELS, 16, ROWS *PIXELS, PITCH, 0, 1, NULL}, {16, 1, 16, 1, 0, 1, NULL}},
    4,    0,
    0,    0,
    false};
/* A pixel seven times: sums on the way back. */
static const clq_move_map repeated = {
    2,    {{7, CHANNELS, PIXELS, PITCH, 0, 1, mirrored}, {CHANNELS, 1, CHANNELS, 1, 0, 1, NULL}},
    0,    0,
    0,    0,
    false};

static int64_t source_of(const clq_move_axis *axis, int64_t i) {
    const int64_t at = axis->table ? axis->table[i] : axis->start + i * axis->step;
    return at >= 0 && at < axis->from_count ? at * axis->from : INT32_MIN;
}

/* For each element of y, which of x's it is, or -1; returns how many there are. to (MOST) */
static int plain(const clq_move_map *map, int to[MOST], int from[MOST]) {
    int count = 1;
    for (int a = 0; a < map->axis_count; a++) {
        count *= (int)map->axis[a].count;
    }
    for (int e = 0; e < count; e++) {
        int64_t source = map->from, target = map->to;
        int rest = e;
        for (int a = map->axis_count - 1; a >= 0; a--) {
            const int i = rest % (int)map->axis[a].count;
            rest /= (int)map->axis[a].count;
            source += source_of(&map->axis[a], i);
            target += i * map->axis[a].to;
        }
        to[e] = (int)target;
        from[e] = source < 0 ? -1 : (int)source;
    }
    return count;
}

static clq_status move(clq_self_bench *b, const clq_move_map *map, clq_move_kind kind, bool filled,
                       bool accumulate) {
    clq_move *m = NULL;
    CLQ_TRY(clq_move_create(b->device, map, kind, &m));
    const clq_status status =
        clq_move_run(m, b->buffers[AX], b->buffers[AY], filled ? b->buffers[AFILL] : NULL,
                     kind == CLQ_MOVE_BY_TABLE ? b->buffers[ATABLE] : NULL, accumulate);
    clq_move_destroy(m);
    return status;
}

static clq_status check_floats(clq_self_bench *b, const clq_move_map *map, bool accumulate) {
    const float fill = 5.5f;
    float x[X], y[MOST], expected[MOST];
    int to[MOST], from[MOST];
    const int count = plain(map, to, from);
    clq_self_test_fill(x, X, 1000, 1);
    clq_self_test_fill(y, MOST, 1000, 2);
    memcpy(expected, y, sizeof y);
    for (int e = 0; e < count; e++) {
        const float none = accumulate ? 0 : fill;
        expected[to[e]] = (accumulate ? y[to[e]] : 0) + (from[e] < 0 ? none : x[from[e]]);
    }
    CLQ_TRY(clq_bench_put(b, AX, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, AY, y, sizeof y));
    CLQ_TRY(clq_bench_put(b, AFILL, &fill, sizeof fill));
    CLQ_TRY(move(b, map, CLQ_MOVE_FLOATS, !accumulate, accumulate));
    return clq_bench_floats(b, b->buffers[AY], expected, MOST, 0,
                            accumulate ? "move_add_f32" : "move_words");
}

static clq_status check_codes(clq_self_bench *b, const clq_move_map *map, clq_move_kind kind) {
    const uint8_t fill[4] = {9, 9, 9, 9};
    uint8_t x[X], y[MOST] = {0}, table[256];
    int to[MOST], from[MOST];
    uint32_t state = 3;
    const int count = plain(map, to, from);
    for (int i = 0; i < X; i++) {
        x[i] = (uint8_t)(i % PITCH < CHANNELS ? clq_self_test_draw(&state) >> 8 : 0);
    }
    for (int i = 0; i < 256; i++) {
        table[i] = (uint8_t)(i * 77 + 13);
    }
    for (int e = 0; e < count; e++) {
        const uint8_t code = from[e] < 0 ? 9 : x[from[e]];
        y[to[e]] = kind == CLQ_MOVE_BY_TABLE && from[e] >= 0 ? table[code] : code;
    }
    CLQ_TRY(clq_bench_put(b, AX, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, AY, NULL, sizeof y));
    CLQ_TRY(clq_buffer_fill(b->buffers[AY], 0, sizeof y, map->row ? 0xffffffffu : 0));
    CLQ_TRY(clq_bench_put(b, AFILL, fill, sizeof fill));
    CLQ_TRY(clq_bench_put(b, ATABLE, table, sizeof table));
    CLQ_TRY(move(b, map, kind, true, false));
    const size_t size = map->row ? (size_t)(count / CHANNELS * PITCH) : MOST;
    return clq_bench_bytes(b, b->buffers[AY], y, size, "move_codes");
}

/* Of codes, the rows of `rows` are more than MOST: only the first of x. */
static clq_move_map first_row(clq_move_map map) {
    map.axis[0].count = map.axis[0].from_count = 1;
    return map;
}

static clq_status check_sums(clq_self_bench *b) {
    float dy[MOST], dx[X], expected[X];
    int to[MOST], from[MOST];
    const int count = plain(&repeated, to, from);
    clq_self_test_fill(dy, MOST, 1000, 4);
    clq_self_test_fill(dx, X, 1000, 5);
    memcpy(expected, dx, sizeof dx);
    for (int e = 0; e < count; e++) {
        if (from[e] >= 0) {
            expected[from[e]] += dy[to[e]];
        }
    }
    clq_move *m = NULL;
    CLQ_TRY(clq_bench_put(b, AX, dx, sizeof dx));
    CLQ_TRY(clq_bench_put(b, AY, dy, sizeof dy));
    CLQ_TRY(clq_move_create_back(b->device, &repeated, &m));
    const clq_status status = clq_move_run(m, b->buffers[AY], b->buffers[AX], NULL, NULL, true);
    clq_move_destroy(m);
    CLQ_TRY(status);
    return clq_bench_floats(b, b->buffers[AX], expected, X, 0, "move_sum_f32");
}

static clq_status test_move(clq_self_bench *b) {
    const clq_move_map row = first_row(rows), turned_row = first_row(turned);
    CLQ_TRY(check_floats(b, &row, false));
    CLQ_TRY(check_floats(b, &turned, false));
    CLQ_TRY(check_floats(b, &row, true));
    CLQ_TRY(check_floats(b, &fours, true));
    CLQ_TRY(check_codes(b, &row, CLQ_MOVE_CODES));
    CLQ_TRY(check_codes(b, &turned_row, CLQ_MOVE_CODES));
    CLQ_TRY(check_codes(b, &turned, CLQ_MOVE_BY_TABLE));
    CLQ_TRY(check_codes(b, &fours, CLQ_MOVE_CODES));
    return check_sums(b);
}

/* ---- quant/move.cl ---- */

enum { SCALE, ZERO, LIMITS, OUT, VALUES = 2 };

static clq_status test_requantize(clq_self_bench *b) {
    static const float scales[VALUES] = {0.031f, 0.047f};
    static const int32_t zeros[VALUES] = {101, 3}, limits[VALUES][2] = {{0, 255}, {-128, 127}};
    static const clq_move_map map = {
        2, {{7, 24, 7, 23, 0, 1, NULL}, {23, 1, 23, 1, 0, 1, NULL}}, 0, 1, 0, 0, false};
    enum { COUNT = 7 * 23, SIZE = 7 * 24 };
    float x[COUNT], expected[SIZE] = {0};
    clq_value values[VALUES] = {{.name = (char *)"x"}, {.name = (char *)"y"}};
    clq_graph graph = {.values = values, .value_count = VALUES};
    clq_qstate qstate = {.observe = false};
    clq_move *m = NULL;
    clq_self_test_fill(x, COUNT, 100, 6);
    for (int i = 0; i < COUNT; i++) {
        expected[1 + i / 23 * 24 + i % 23] =
            clq_quantize_code(x[i] * scales[0], scales[1], 0, (float)(limits[1][0] - zeros[1]),
                              (float)(limits[1][1] - zeros[1]));
    }
    CLQ_TRY(clq_bench_put(b, SCALE, scales, sizeof scales));
    CLQ_TRY(clq_bench_put(b, ZERO, zeros, sizeof zeros));
    CLQ_TRY(clq_bench_put(b, LIMITS, limits, sizeof limits));
    CLQ_TRY(clq_bench_put(b, OUT, NULL, sizeof expected));
    CLQ_TRY(clq_buffer_fill(b->buffers[OUT], 0, sizeof expected, 0));
    CLQ_TRY(clq_bench_put(b, OUT + 1, x, sizeof x));
    qstate.scale = b->buffers[SCALE];
    qstate.zero_point = b->buffers[ZERO];
    qstate.limits = b->buffers[LIMITS];
    const clq_tensor in = {.buffer = b->buffers[OUT + 1], .value = &values[0]};
    const clq_op_run run = {.device = b->device,
                            .graph = &graph,
                            .qstate = &qstate,
                            .out = {.buffer = b->buffers[OUT], .value = &values[1]}};
    CLQ_TRY(clq_move_create(b->device, &map, CLQ_MOVE_FLOATS, &m));
    const clq_status status = clq_move_requantize(m, &run, &in);
    clq_move_destroy(m);
    CLQ_TRY(status);
    return clq_bench_floats(b, b->buffers[OUT], expected, SIZE, 0, "move_requantize");
}

const clq_file_test clq_move_self_tests[] = {
    {"move/move.cl", test_move, false}, {"quant/move.cl", test_requantize, false}, {0}};
