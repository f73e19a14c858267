/* The built-in networks against published figures and torchvision's names. */
#include <clquant/models.h>
#include <clquant/ops.h>
#include <clquant/passes.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/plan.h"
#include "support/clq_test.h"

static clq_graph *build(clq_network_options options) {
    clq_graph *g = NULL;
    assert_ok(clq_network_build(&options, &g));
    assert_ok(clq_graph_validate(g));
    return g;
}

static clq_graph *shell(const char *network, const char *stem) {
    return build((clq_network_options){.network = network, .stem = stem, .leave_zero = true});
}

static const clq_value *value(const clq_graph *g, const char *name) {
    int id = clq_graph_find_value(g, name);
    if (id < 0) {
        fail_msg("no value is named \"%s\"", name);
    }
    return &g->values[id];
}

static void assert_shape(const clq_graph *g, const char *name, const char *expected) {
    char text[96];
    clq_shape_text(&value(g, name)->shape, text, sizeof text);
    assert_string_equal(text, expected);
}

/* ---- other sizes ---- */

static void networks_with_global_pooling_take_images_of_any_size(void **state) {
    static const char *const networks[] = {"resnet18", "resnet20", "mobilenet_v2"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        const clq_network_options options = {
            .network = networks[i], .stem = "cifar", .size = 32, .leave_zero = true};
        clq_network_options small_options = options;
        small_options.size = 23;
        clq_graph *g = build(options), *small = build(small_options), *resized = NULL;
        assert_ok(clq_graph_resize(g, 23, 23, &resized));
        assert_ok(clq_graph_validate(resized));
        assert_int_equal(resized->value_count, small->value_count);
        for (int v = 0; v < small->value_count; v++) {
            assert_string_equal(resized->values[v].name, small->values[v].name);
            assert_true(clq_shape_equal(&resized->values[v].shape, &small->values[v].shape));
        }
        clq_graph_destroy(g);
        clq_graph_destroy(small);
        clq_graph_destroy(resized);
    }
    clq_graph *mlp = build((clq_network_options){.network = "mlp", .size = 8}), *resized = NULL;
    assert_status(clq_graph_resize(mlp, 9, 9, &resized), CLQ_BAD_DATA);
    assert_error_has("with inputs of 9x9");
    assert_null(resized);
    clq_graph_destroy(mlp);
}

/* ---- published sizes ---- */

typedef struct published {
    const char *network, *stem;
    char shortcut;
    int64_t parameters;
    int64_t macs; /* 0: not checked */
} published;

/* ImageNet: torchvision's model tables. CIFAR: He et al., table 6, counted exactly. */
static const published sizes[] = {
    {"resnet18", "imagenet", 0, 11689512, 1814073344},
    {"resnet34", "imagenet", 0, 21797672, 3663761408},
    {"resnet50", "imagenet", 0, 25557032, 4089184256},
    {"resnet101", "imagenet", 0, 44549160, 7801405440},
    {"mobilenet_v2", "imagenet", 0, 3504872, 300774272},
    {"mobilenet_v3_small", "imagenet", 0, 2542856, 0},
    {"mobilenet_v3_large", "imagenet", 0, 5483032, 0},
    {"efficientnet_b0", "imagenet", 0, 5288548, 0},
    {"efficientnet_lite0", "imagenet", 0, 4652008, 0},
    {"squeezenet1_1", "imagenet", 0, 1235496, 0},
    {"shufflenet_v2_x1_0", "imagenet", 0, 2278604, 0},
    {"regnet_y_400mf", "imagenet", 0, 4344144, 0},
    {"densenet121", "imagenet", 0, 7978856, 0},
    {"convnext_tiny", "imagenet", 0, 28589128, 0},
    {"unet", NULL, 0, 482754, 0}, /* counted by hand */
    {"resnet18", "cifar", 0, 11173962, 555422720},
    {"mobilenet_v2", "cifar", 0, 2236682, 0},
    {"resnet20", "cifar", 'A', 269722, 40551040},
    {"resnet20", "cifar", 'B', 272474, 0},
    {"resnet32", "cifar", 'A', 464154, 0},
    {"resnet44", "cifar", 'A', 658586, 0},
    {"resnet56", "cifar", 'A', 853018, 0},
};

static void sizes_are_the_published_ones(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const published *p = &sizes[i];
        clq_graph *g = build((clq_network_options){
            .network = p->network, .stem = p->stem, .shortcut = p->shortcut, .leave_zero = true});
        clq_graph_size size = clq_graph_measure(g);
        if (size.parameters != p->parameters || (p->macs && size.macs != p->macs)) {
            fail_msg("%s %s: %lld parameters, %lld multiply-adds", p->network, p->stem,
                     (long long)size.parameters, (long long)size.macs);
        }
        assert_int_equal(size.bytes, 4 * size.parameters);
        clq_graph_destroy(g);
    }
}

/* ---- names and shapes ---- */

static void resnet50_follows_torchvision(void **state) {
    (void)state;
    clq_graph *g = shell("resnet50", NULL);
    assert_shape(g, "input", "1x224x224x3");
    assert_shape(g, "conv1.weight", "64x7x7x3");
    assert_shape(g, "conv1", "1x112x112x64");
    assert_shape(g, "maxpool", "1x56x56x64");
    assert_shape(g, "layer1.0.downsample.0.weight", "256x1x1x64");
    assert_shape(g, "layer1.0.downsample.1.running_var", "256");
    assert_shape(g, "layer1.2.conv3", "1x56x56x256");
    assert_shape(g, "layer2.0.conv1", "1x56x56x128"); /* the stride is in the 3x3 */
    assert_shape(g, "layer2.0.conv2", "1x28x28x128");
    assert_shape(g, "layer4.2.bn3.weight", "2048");
    assert_shape(g, "avgpool", "1x2048");
    assert_shape(g, "fc.weight", "1000x2048");
    assert_shape(g, "fc.bias", "1000");
    assert_string_equal(g->values[clq_graph_output(g)].name, "fc");
    assert_int_equal(clq_graph_find_value(g, "conv1.bias"), -1);
    assert_int_equal(clq_graph_find_value(g, "layer1.1.downsample.0.weight"), -1);
    int bn = clq_graph_find_node(g, "bn1");
    const clq_batch_norm_attrs *attrs = g->nodes[bn].attrs;
    assert_true(attrs->epsilon == 1e-5f && attrs->momentum == 0.1f);
    clq_graph_destroy(g);

    g = shell("resnet18", NULL); /* the first stage needs no projection */
    assert_int_equal(clq_graph_find_value(g, "layer1.0.downsample.0.weight"), -1);
    assert_shape(g, "layer2.0.downsample.0.weight", "128x1x1x64");
    assert_shape(g, "layer4.1.conv2", "1x7x7x512");
    clq_graph_destroy(g);
}

static void cifar_stem_keeps_the_image(void **state) {
    (void)state;
    clq_graph *g = shell("resnet50", "cifar");
    assert_shape(g, "conv1.weight", "64x3x3x3");
    assert_shape(g, "conv1", "1x32x32x64");
    assert_shape(g, "layer1.0.conv3", "1x32x32x256");
    assert_shape(g, "layer4.0.conv2", "1x4x4x512");
    assert_shape(g, "fc.weight", "10x2048");
    assert_int_equal(clq_graph_find_node(g, "maxpool"), -1);
    clq_graph_destroy(g);
}

static void cifar_resnet_shortcuts(void **state) {
    (void)state;
    clq_graph *g = shell("resnet20", NULL);
    assert_shape(g, "layer1.2.conv2", "1x32x32x16");
    assert_shape(g, "layer2.0.shortcut", "1x16x16x32");
    assert_shape(g, "layer3.2.conv2", "1x8x8x64");
    const clq_pad_channels_attrs *attrs =
        g->nodes[clq_graph_find_node(g, "layer3.0.shortcut")].attrs;
    assert_true(attrs->stride == 2 && attrs->front == 16 && attrs->back == 16);
    clq_graph_destroy(g);
    g = build((clq_network_options){.network = "resnet20", .shortcut = 'B', .leave_zero = true});
    assert_shape(g, "layer2.0.downsample.0.weight", "32x1x1x16");
    assert_int_equal(clq_graph_find_node(g, "layer2.0.shortcut"), -1);
    clq_graph_destroy(g);
}

static void mobilenet_v2_follows_torchvision(void **state) {
    (void)state;
    clq_graph *g = shell("mobilenet_v2", NULL);
    assert_shape(g, "features.0.0.weight", "32x3x3x3");
    assert_shape(g, "features.0.0", "1x112x112x32");
    assert_shape(g, "features.1.conv.0.0.weight", "32x3x3x1");
    assert_shape(g, "features.1.conv.1.weight", "16x1x1x32");
    assert_shape(g, "features.1.conv.2.running_mean", "16");
    assert_shape(g, "features.2.conv.0.0.weight", "96x1x1x16");
    assert_shape(g, "features.2.conv.1.0", "1x56x56x96");
    assert_shape(g, "features.2.conv.3.weight", "24");
    assert_shape(g, "features.3.add", "1x56x56x24");
    assert_shape(g, "features.17.conv.2.weight", "320x1x1x960");
    assert_shape(g, "features.18.0", "1x7x7x1280");
    assert_shape(g, "classifier.1.weight", "1000x1280");
    assert_int_equal(clq_graph_find_node(g, "features.2.add"), -1);
    assert_int_equal(clq_graph_find_node(g, "features.17.add"), -1);
    assert_true(((clq_dropout_attrs *)g->nodes[clq_graph_find_node(g, "classifier.0")].attrs)
                    ->probability == 0.2f);
    clq_graph_destroy(g);

    g = shell("mobilenet_v2", "cifar");
    assert_shape(g, "features.0.0", "1x32x32x32");
    assert_shape(g, "features.2.conv.2", "1x32x32x24");
    assert_shape(g, "features.18.0", "1x4x4x1280");
    clq_graph_destroy(g);
}

static void mlp_takes_vectors_and_images(void **state) {
    (void)state;
    clq_graph *g = build((clq_network_options){.network = "mlp",
                                               .inputs = 64,
                                               .hidden = (int[]){32, 16},
                                               .hidden_count = 2,
                                               .activation = "tanh",
                                               .classes = 4});
    assert_shape(g, "input", "1x64");
    assert_shape(g, "fc1.weight", "32x64");
    assert_shape(g, "tanh2", "1x16");
    assert_shape(g, "fc3", "1x4");
    assert_string_equal(g->values[clq_graph_output(g)].name, "fc3");
    clq_graph_destroy(g);
    g = build((clq_network_options){.network = "mlp"});
    assert_shape(g, "input", "1x28x28x1");
    assert_shape(g, "fc1.weight", "128x784");
    assert_shape(g, "relu1", "1x128");
    assert_shape(g, "fc2", "1x10");
    clq_graph_destroy(g);
    g = build((clq_network_options){.network = "mlp", .hidden = (int[]){0}, .inputs = 5});
    assert_shape(g, "fc1", "1x10"); /* no hidden layer */
    clq_graph_destroy(g);
}

/* ---- initial weights ---- */

static void moments(const clq_value *v, double *mean, double *deviation, double *largest) {
    const float *data = v->data;
    int64_t count = clq_shape_count(&v->shape);
    double sum = 0, squares = 0;
    *largest = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += data[i];
        squares += (double)data[i] * data[i];
        *largest = fmax(*largest, fabs(data[i]));
    }
    *mean = sum / (double)count;
    *deviation = sqrt(squares / (double)count - *mean * *mean);
}

static void weights_have_the_right_spread(void **state) {
    (void)state;
    double mean, deviation, largest;
    clq_graph *g = build((clq_network_options){.network = "resnet20", .seed = clq_test_seed()});
    double expected = sqrt(2.0 / (64 * 9)); /* 36864 draws: 1 % is 2.7 sigma of their spread */
    moments(value(g, "layer3.1.conv1.weight"), &mean, &deviation, &largest);
    assert_float_equal(deviation, expected, 0.02 * expected);
    assert_float_equal(mean, 0, 0.03 * expected);
    assert_true(largest > 3 * expected && largest < 7 * expected);
    moments(value(g, "fc.weight"), &mean, &deviation, &largest);
    assert_float_equal(deviation, 0.125 / sqrt(3), 0.01);
    assert_true(largest <= 0.125);
    moments(value(g, "layer1.0.bn1.weight"), &mean, &deviation, &largest);
    assert_true(mean == 1 && largest == 1);
    moments(value(g, "layer1.0.bn1.running_mean"), &mean, &deviation, &largest);
    assert_true(largest == 0);
    clq_graph_destroy(g);

    g = build((clq_network_options){.network = "mobilenet_v2", .stem = "cifar"});
    moments(value(g, "classifier.1.weight"), &mean, &deviation, &largest);
    assert_float_equal(deviation, 0.01, 0.0005);
    moments(value(g, "classifier.1.bias"), &mean, &deviation, &largest);
    assert_true(largest == 0);
    /* fan out of a depthwise convolution is channels * 9 (torch does not divide by groups) */
    moments(value(g, "features.15.conv.1.0.weight"), &mean, &deviation, &largest);
    assert_float_equal(deviation, sqrt(2.0 / (960 * 9)), 0.05 * sqrt(2.0 / (960 * 9)));
    clq_graph_destroy(g);
}

static void seeds_decide_the_weights(void **state) {
    (void)state;
    clq_graph *a = build((clq_network_options){.network = "resnet20", .seed = 1});
    clq_graph *b = build((clq_network_options){.network = "resnet20", .seed = 1, .classes = 7});
    clq_graph *c = build((clq_network_options){.network = "resnet20", .seed = 2});
    const clq_value *first = value(a, "layer2.0.conv1.weight");
    const clq_value *second = value(a, "layer2.1.conv1.weight");
    size_t bytes = 4 * (size_t)clq_shape_count(&first->shape);
    assert_memory_equal(first->data, value(b, "layer2.0.conv1.weight")->data, bytes);
    assert_memory_not_equal(first->data, value(c, "layer2.0.conv1.weight")->data, bytes);
    assert_memory_not_equal(first->data, second->data, bytes);
    clq_graph_destroy(a);
    clq_graph_destroy(b);
    clq_graph_destroy(c);
}

/* ---- folding and memory ---- */

/* The last batch norm of every block, and no other. */
static void blocks_can_start_as_their_shortcuts(void **state) {
    (void)state;
    static const char *const networks[] = {"resnet18", "resnet50"};
    for (int n = 0; n < 2; n++) {
        clq_graph *g = build((clq_network_options){
            .network = networks[n], .stem = "cifar", .size = 8, .zero_init_residual = true});
        const char *last = n ? ".bn3.weight" : ".bn2.weight";
        for (int v = 0; v < g->value_count; v++) {
            const clq_value *value = &g->values[v];
            const bool is_gamma = strstr(value->name, "bn") && strstr(value->name, ".weight");
            if (is_gamma) {
                assert_true(*(float *)value->data == (strstr(value->name, last) ? 0 : 1));
            }
        }
        clq_graph_destroy(g);
    }
}

static void folding_keeps_names(void **state) {
    (void)state;
    for (size_t i = 0; clq_network_list(i); i++) {
        if (strcmp(clq_network_list(i)->name, "resnet101") == 0) {
            continue; /* the same code as resnet50, and large */
        }
        clq_graph *g = shell(clq_network_list(i)->name, NULL), *folded = NULL;
        for (int v = 0; v < g->value_count; v++) { /* a variance of 0 would magnify */
            if (g->values[v].kind == CLQ_VALUE_STATE) {
                ((float *)g->values[v].data)[0] = 1;
            }
        }
        assert_ok(clq_graph_fold(g, &folded));
        assert_ok(clq_graph_validate(folded));
        for (int n = 0; n < folded->node_count; n++) {
            const clq_node *node = &folded->nodes[n];
            assert_int_not_equal(clq_graph_find_node(g, node->name), -1);
            assert_string_equal(folded->values[node->output].name, node->name);
            assert_string_not_equal(node->op->name, "batch_norm");
            assert_string_not_equal(node->op->name, "relu");
            assert_string_not_equal(node->op->name, "relu6");
            assert_string_not_equal(node->op->name, "dropout");
            if (strcmp(node->op->name, "conv2d") == 0) {
                char *bias = clq_format("%s.bias", node->name);
                char *weight = clq_format("%s.weight", node->name);
                assert_string_equal(folded->values[node->inputs[1]].name, weight);
                if (node->input_count > 2) { /* densenet121 has convolutions before a concat */
                    assert_string_equal(folded->values[node->inputs[2]].name, bias);
                }
                clq_free(bias);
                clq_free(weight);
            }
        }
        assert_string_equal(folded->values[clq_graph_output(folded)].name,
                            g->values[clq_graph_output(g)].name);
        if (strcmp(clq_network_list(i)->name, "densenet121") != 0) { /* some norms become layers */
            assert_int_equal(clq_graph_measure(folded).macs, clq_graph_measure(g).macs);
        }
        clq_graph_destroy(folded);
        clq_graph_destroy(g);
    }
}

/* From the node that writes a value to the last that reads it; the output lives to the end. */
static void forward_lifetimes(const clq_graph *g, clq_lifetime *lives) {
    for (int v = 0; v < g->value_count; v++) {
        bool planned = g->values[v].kind == CLQ_VALUE_INPUT || g->values[v].producer >= 0;
        int first = planned && g->values[v].producer > 0 ? g->values[v].producer : 0;
        lives[v] = (clq_lifetime){
            .bytes = planned ? 4 * (uint64_t)clq_shape_count(&g->values[v].shape) : 0,
            .first = first,
            .last = v == clq_graph_output(g) ? g->node_count : first,
            .alias = -1};
    }
    for (int n = 0; n < g->node_count; n++) {
        for (int k = 0; k < g->nodes[n].input_count; k++) {
            clq_lifetime *life = &lives[g->nodes[n].inputs[k]];
            life->last = life->last < n ? n : life->last;
        }
    }
}

static void memory_plans_are_tight(void **state) {
    (void)state;
    static const char *const names[] = {"resnet18", "resnet50", "mobilenet_v2", "resnet20"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        clq_graph *g = shell(names[i], NULL), *folded = NULL;
        assert_ok(clq_graph_fold(g, &folded));
        clq_lifetime *lives = calloc((size_t)folded->value_count, sizeof *lives);
        clq_plan *plan = NULL;
        forward_lifetimes(folded, lives);
        assert_ok(clq_plan_create(lives, folded->value_count, 1, UINT64_MAX, &plan));
        print_message("%s: %d buffers, %.1f MB of %.1f, bound %.1f\n", names[i], plan->buffer_count,
                      (double)plan->total / 1e6, (double)plan->unshared / 1e6,
                      (double)plan->lower_bound / 1e6);
        assert_true(plan->total <= plan->lower_bound + plan->lower_bound / 2);
        assert_true(plan->total < plan->unshared / 2);
        clq_plan_destroy(plan);
        free(lives);
        clq_graph_destroy(folded);
        clq_graph_destroy(g);
    }
}

/* ---- options ---- */

static void bad_options_are_named(void **state) {
    (void)state;
    const struct {
        clq_network_options options;
        const char *text;
    } bad[] = {
        {{.network = NULL}, "mobilenet_v2"},
        {{.network = "resnet19"}, "resnet18, resnet34"},
        {{.network = "resnet18", .stem = "mnist"}, "mnist"},
        {{.network = "resnet20", .stem = "imagenet"}, "cifar"},
        {{.network = "mlp", .stem = "cifar"}, "stem"},
        {{.network = "resnet18", .shortcut = 'A'}, "shortcut"},
        {{.network = "resnet20", .shortcut = 'C'}, "A or B"},
        {{.network = "resnet18", .size = -1}, "size"},
        {{.network = "resnet18", .size = 1 << 30}, "size"},
        {{.network = "resnet18", .classes = -5}, "classes"},
        {{.network = "resnet18", .channels = 1 << 20}, "channels"},
        {{.network = "resnet50", .stem = "cifar", .size = 8192}, "2^31"},
        {{.network = "resnet18", .inputs = 5}, "mlp"},
        {{.network = "mlp", .inputs = -1}, "inputs"},
        {{.network = "mlp", .activation = "gelu"}, "gelu"},
        {{.network = "mlp", .hidden = (const int[]){-3}, .hidden_count = 1}, "hidden"},
        {{.network = "mlp", .hidden = (const int[]){3}, .hidden_count = 1000}, "hidden"},
        {{.network = "mlp", .hidden = (const int[]){1 << 20}, .hidden_count = 1, .size = 8192},
         "2^31"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clq_graph *g = NULL;
        assert_status(clq_network_build(&bad[i].options, &g), CLQ_USAGE);
        assert_error_has(bad[i].text);
        assert_null(g);
    }
}

/* Those whose windows are not padded want images of 32 pixels; torchvision's fail likewise. */
static bool wants_more(const char *network, int size) {
    static const char *const unpadded[] = {"squeezenet1_1", "densenet121", "convnext_tiny"};
    bool wants = strcmp(network, "unet") == 0 && size % 8 != 0;
    for (int i = 0; i < 3; i++) {
        wants = wants || (strcmp(network, unpadded[i]) == 0 && size < 32);
    }
    return wants;
}

static void small_images_still_build(void **state) {
    (void)state;
    for (int size = 1; size <= 33; size += 8) {
        for (size_t i = 0; clq_network_list(i); i++) {
            const clq_network_options options = {.network = clq_network_list(i)->name,
                                                 .size = size,
                                                 .channels = 1,
                                                 .leave_zero = true};
            clq_graph *g = NULL;
            if (!wants_more(options.network, size)) {
                clq_graph_destroy(build(options));
            } else if (clq_network_build(&options, &g) != CLQ_OK) {
                assert_error_has(options.network);
            } else {
                clq_graph_destroy(g);
            }
        }
    }
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    clq_network_options options = {.network = "mobilenet_v2", .leave_zero = true, .classes = 2};
    clq_graph *g = NULL;
    clq_test_fail_allocation(0);
    assert_ok(clq_network_build(&options, &g));
    long count = clq_test_allocations();
    clq_graph_destroy(g);
    for (long nth = 1; nth <= count; nth += nth < 40 ? 1 : 37) {
        g = NULL;
        clq_test_fail_allocation(nth);
        assert_int_equal(clq_network_build(&options, &g), CLQ_NO_MEMORY);
        assert_null(g);
        assert_int_equal(clq_test_live_allocations(), 0);
    }
    clq_test_restore_allocator();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_published_ones),
        cmocka_unit_test(resnet50_follows_torchvision),
        cmocka_unit_test(cifar_stem_keeps_the_image),
        cmocka_unit_test(cifar_resnet_shortcuts),
        cmocka_unit_test(mobilenet_v2_follows_torchvision),
        cmocka_unit_test(mlp_takes_vectors_and_images),
        cmocka_unit_test(weights_have_the_right_spread),
        cmocka_unit_test(seeds_decide_the_weights),
        cmocka_unit_test(blocks_can_start_as_their_shortcuts),
        cmocka_unit_test(folding_keeps_names),
        cmocka_unit_test(memory_plans_are_tight),
        cmocka_unit_test(networks_with_global_pooling_take_images_of_any_size),
        cmocka_unit_test(bad_options_are_named),
        cmocka_unit_test(small_images_still_build),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
