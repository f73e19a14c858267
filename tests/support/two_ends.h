/* A network with two inputs and three outputs, two of them the same value.
 *
 *   left (1, 6, 5, 3)  -> conv a \
 *                                 add -> relu (output "map", 4 channels) -> pool -> fc ("scores",
 * "again") right (1, 6, 5, 2) -> conv b / */
#ifndef CLQ_TEST_TWO_ENDS_H
#define CLQ_TEST_TWO_ENDS_H

#include "exec/small_net.h"

enum { ENDS_H = 6, ENDS_W = 5, ENDS_LEFT = 3, ENDS_RIGHT = 2, ENDS_MAP = 4, ENDS_SCORES = 3 };

static inline clq_graph *two_ends(void) {
    net n = net_begin((clq_shape){4, {1, ENDS_H, ENDS_W, ENDS_LEFT}});
    int right = CLQ_NO_VALUE;
    clq_free(n.graph->values[n.at].name);
    n.graph->values[n.at].name = clq_format("left");
    assert_ok(clq_graph_add_input(n.graph, "right", (clq_shape){4, {1, ENDS_H, ENDS_W, ENDS_RIGHT}},
                                  &right));
    const int a = net_conv(&n, "a", n.at, ENDS_MAP, 3, 1, true);
    const int b = net_conv(&n, "b", right, ENDS_MAP, 3, 1, true);
    net_add(&n, "add", a, b);
    const int map = net_unary(&n, "relu", "act", n.at);
    net_unary(&n, "global_avg_pool", "pool", map);
    net_linear(&n, "fc", n.at, ENDS_SCORES);
    assert_ok(clq_graph_add_output(n.graph, "map", map));
    assert_ok(clq_graph_add_output(n.graph, "scores", n.at));
    assert_ok(clq_graph_add_output(n.graph, "again", n.at));
    assert_ok(clq_graph_validate(n.graph));
    return n.graph;
}

/* The network again, in float, without anything of the library: y of one image, NHWC. */
static inline void ref_two_ends(const clq_graph *graph, const float *left, const float *right,
                                float *map, float *scores) {
    const float *const x[2] = {left, right};
    const int channels[2] = {ENDS_LEFT, ENDS_RIGHT};
    const char *const names[2][2] = {{"a.weight", "a.bias"}, {"b.weight", "b.bias"}};
    float mean[ENDS_MAP] = {0};
    for (int i = 0; i < ENDS_H * ENDS_W * ENDS_MAP; i++) {
        const int o = i % ENDS_MAP, col = i / ENDS_MAP % ENDS_W, row = i / ENDS_MAP / ENDS_W;
        double sum = 0;
        for (int k = 0; k < 2; k++) {
            const float *w = graph->values[clq_graph_find_value(graph, names[k][0])].data;
            const float *bias = graph->values[clq_graph_find_value(graph, names[k][1])].data;
            sum += bias[o];
            for (int t = 0; t < 9 * channels[k]; t++) {
                const int c = t % channels[k], r = row + t / channels[k] / 3 - 1,
                          q = col + t / channels[k] % 3 - 1;
                if (r >= 0 && r < ENDS_H && q >= 0 && q < ENDS_W) {
                    sum += (double)x[k][(r * ENDS_W + q) * channels[k] + c] *
                           w[o * 9 * channels[k] + t];
                }
            }
        }
        map[i] = sum > 0 ? (float)sum : 0;
        mean[o] += map[i] / (ENDS_H * ENDS_W);
    }
    const float *w = graph->values[clq_graph_find_value(graph, "fc.weight")].data;
    const float *bias = graph->values[clq_graph_find_value(graph, "fc.bias")].data;
    for (int s = 0; s < ENDS_SCORES; s++) {
        scores[s] = bias[s];
        for (int o = 0; o < ENDS_MAP; o++) {
            scores[s] += w[s * ENDS_MAP + o] * mean[o];
        }
    }
}

#endif
