/* Policies: which rule holds for which node, from JSON and back, and what is refused. */
#include <clquant/quant.h>

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "quant/internal.h"
#include "quant/policy.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

static clq_policy policy_of(const char *json) {
    clq_policy policy = {.count = 0};
    const char *path = clq_test_temp_path("policy.json");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(json, file);
    fclose(file);
    assert_ok(clq_policy_load(&policy, path));
    return policy;
}

static void check_refused(const char *json, const char *error) {
    clq_policy policy = {.count = 0};
    const char *path = clq_test_temp_path("policy.json");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(json, file);
    fclose(file);
    assert_status(clq_policy_load(&policy, path), CLQ_BAD_DATA);
    assert_error_has(error);
}

static clq_policy_rule rule_for(const clq_policy *policy, const clq_graph *graph,
                                const char *name) {
    const int node = clq_graph_find_node(graph, name);
    assert_true(node >= 0);
    return clq_policy_find(policy, graph, node);
}

static void the_first_rule_decides(void **state) {
    (void)state;
    const clq_network_options options = {.network = "resnet20", .size = 12};
    clq_graph *graph = net_folded(net_built(&options));
    const clq_policy policy = policy_of("{\"rules\": ["
                                        "{\"layer\": \"first\", \"float\": true},"
                                        "{\"layer\": \"last\", \"weights\": \"s8\"},"
                                        "{\"name\": \"layer1.?.conv2\", \"weights\": \"s2\"},"
                                        "{\"name\": \"layer1*\", \"weights\": \"s4\"},"
                                        "{\"op\": \"add\", \"float\": true}]}");
    assert_int_equal(policy.count, 5);
    assert_ok(clq_policy_check(&policy, graph));
    assert_true(rule_for(&policy, graph, "conv1").keep_float);
    assert_int_equal(rule_for(&policy, graph, "fc").weights, CLQ_Q_S8);
    assert_int_equal(rule_for(&policy, graph, "layer1.1.conv2").weights, CLQ_Q_S2);
    assert_int_equal(rule_for(&policy, graph, "layer1.1.conv1").weights, CLQ_Q_S4);
    assert_false(rule_for(&policy, graph, "layer1.1.add").keep_float); /* the rule before */
    assert_true(rule_for(&policy, graph, "layer2.1.add").keep_float);
    assert_int_equal(rule_for(&policy, graph, "layer2.1.conv1").weights, CLQ_Q_S8_NARROW);
    clq_graph_destroy(graph);
}

/* Types of weights and of activations have a deciding rule each. */
static void each_type_has_its_rule(void **state) {
    (void)state;
    const clq_network_options options = {.network = "resnet20", .size = 12};
    clq_graph *graph = net_folded(net_built(&options));
    const clq_policy policy = policy_of("[{\"op\": \"input\", \"activations\": \"s8\"},"
                                        "{\"name\": \"layer1.0.conv1\", \"activations\": \"u2\"},"
                                        "{\"layer\": \"first\", \"float\": true},"
                                        "{\"layer\": \"last\"},"
                                        "{\"weights\": \"s4\"},"
                                        "{\"activations\": \"u4\"}]");
    assert_ok(clq_policy_check(&policy, graph));
    assert_int_equal(clq_policy_find_input(&policy, graph, clq_graph_input(graph)), CLQ_Q_S8);
    clq_policy_rule rule = rule_for(&policy, graph, "layer1.0.conv1");
    assert_int_equal(rule.weights, CLQ_Q_S4);
    assert_int_equal(rule.activations, CLQ_Q_U2);
    rule = rule_for(&policy, graph, "conv1"); /* of the codes made of what it makes */
    assert_true(rule.keep_float);
    assert_int_equal(rule.activations, CLQ_Q_U4);
    rule = rule_for(&policy, graph, "fc"); /* a rule that says nothing means the usual */
    assert_int_equal(rule.weights, CLQ_Q_S8_NARROW);
    assert_int_equal(rule.activations, CLQ_Q_U8);
    rule = rule_for(&policy, graph, "layer3.0.add");
    assert_int_equal(rule.activations, CLQ_Q_U4);
    const clq_policy all = policy_of("[{\"activations\": \"u4\"}]");
    assert_int_equal(clq_policy_find_input(&all, graph, clq_graph_input(graph)), CLQ_Q_U4);
    clq_graph_destroy(graph);
}

/* What a layer makes once its batch norm is folded, the batch norm makes before. */
static void batch_norms_make_their_layers_codes(void **state) {
    (void)state;
    const clq_network_options options = {.network = "resnet20", .size = 12};
    clq_graph *graph = net_built(&options);
    const clq_policy policy =
        policy_of("[{\"name\": \"layer1.0.conv1\", \"activations\": \"u3\"}]");
    assert_int_equal(rule_for(&policy, graph, "layer1.0.bn1").activations, CLQ_Q_U3);
    assert_int_equal(rule_for(&policy, graph, "layer1.0.bn2").activations, CLQ_Q_U8);
    clq_graph_destroy(graph);
}

/* A type for what makes no codes is told. */
static void types_of_reals_are_refused(void **state) {
    (void)state;
    const clq_network_options options = {.network = "resnet20", .size = 12};
    clq_graph *graph = net_folded(net_built(&options)), *typed = NULL;
    clq_policy policy = policy_of("[{\"name\": \"fc\", \"activations\": \"u4\"}]");
    assert_ok(clq_policy_check(&policy, graph));
    assert_status(clq_assign_types(&policy, graph, &typed), CLQ_USAGE);
    assert_error_has("the rule for fc has no effect: what \"fc\" makes stays real");
    policy =
        policy_of("[{\"name\": \"fc\", \"activations\": \"u4\", \"weights\": \"s4\"},"
                  "{\"name\": \"conv1\", \"float\": true},"
                  "{\"name\": \"conv1\", \"activations\": \"u4\"}]"); /* others read its codes */
    assert_ok(clq_assign_types(&policy, graph, &typed));
    clq_graph_destroy(typed);
    clq_graph_destroy(graph);
}

static void json_reads_back(void **state) {
    (void)state;
    const clq_policy policy = policy_of("[{\"name\": \"a*\", \"op\": \"conv2d\", \"float\": true},"
                                        "{\"layer\": \"last\", \"weights\": \"s3\"},"
                                        "{\"op\": \"input\", \"activations\": \"s8_narrow\"},"
                                        "{\"weights\": \"s8\", \"activations\": \"u3\"}]");
    json_t *json = clq_policy_to_json(&policy);
    char *text = NULL;
    assert_ok(clq_json_dump_line(json, &text));
    const clq_policy again = policy_of(text);
    assert_memory_equal(&again, &policy, sizeof policy);
    clq_free(text);
    json_decref(json);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    check_refused("[{\"nmae\": \"a\"}]", "did you mean");
    check_refused("[{\"op\": \"conv3d\", \"float\": true}]", "conv3d");
    check_refused("[{\"weights\": \"s9\"}]", "\"s9\", no known type");
    check_refused("[{\"weights\": \"u8\"}]", "cannot be executed");
    check_refused("[{\"activations\": \"s16\"}]",
                  "activations: activations of type s16 cannot be executed: codes of activations "
                  "are bytes");
    check_refused("[{\"float\": true, \"weights\": \"s4\"}]", "leaves no types");
    check_refused("{}", "rules");
    char many[2 + 3 * (CLQ_MAX_POLICY_RULES + 1)] = "[";
    for (int i = 0; i <= CLQ_MAX_POLICY_RULES; i++) {
        strcat(many, i == CLQ_MAX_POLICY_RULES ? "{}]" : "{},");
    }
    check_refused(many, "rules: has 65 rules; a policy has at most 64");
    clq_policy full = {.count = 0};
    const clq_policy_rule rule = {.keep_float = true};
    for (int i = 0; i < CLQ_MAX_POLICY_RULES; i++) {
        assert_ok(clq_policy_add(&full, &rule));
    }
    assert_status(clq_policy_add(&full, &rule), CLQ_USAGE);
}

/* A pattern that misses everything is a mistake, and so is one for weights of nodes without. */
static void rules_without_use_are_refused(void **state) {
    (void)state;
    const clq_network_options options = {.network = "resnet20", .size = 12};
    clq_graph *graph = net_folded(net_built(&options));
    clq_policy policy = policy_of("[{\"name\": \"layer9*\", \"float\": true}]");
    assert_status(clq_policy_check(&policy, graph), CLQ_USAGE);
    assert_error_has("no node is meant by the rule for layer9*; nodes are called like \"conv1\"");
    policy = policy_of("[{\"name\": \"layer1.0.add\", \"weights\": \"s4\"}]");
    assert_status(clq_policy_check(&policy, graph), CLQ_USAGE);
    assert_error_has("no layer is meant by the rule for layer1.0.add");
    policy = policy_of("[{\"name\": \"layer1*\", \"weights\": \"s4\"},"
                       "{\"name\": \"layer1.0.add\", \"float\": true}]");
    assert_status(clq_policy_check(&policy, graph), CLQ_USAGE);
    assert_error_has(
        "the rule for layer1.0.add has no effect: an earlier one, for layer1*, decides "
        "about \"layer1.0.add\"");
    policy = policy_of("[{\"layer\": \"first\", \"float\": true},"
                       "{\"name\": \"conv1\", \"op\": \"conv2d\", \"weights\": \"s4\"}]");
    assert_status(clq_policy_check(&policy, graph), CLQ_USAGE);
    assert_error_has("the rule for conv1, operator conv2d has no effect: an earlier one, for *, "
                     "first layer, decides about \"conv1\"");
    policy = policy_of("[{\"activations\": \"u4\"}, {\"op\": \"input\", \"activations\": \"u8\"}]");
    assert_status(clq_policy_check(&policy, graph), CLQ_USAGE);
    assert_error_has("the rule for *, operator input has no effect: an earlier one, for *, decides "
                     "about \"input\"");
    policy =
        policy_of("[{\"op\": \"flatten\", \"activations\": \"u4\"}]"); /* makes none of its own */
    assert_status(clq_policy_check(&policy, graph), CLQ_USAGE);
    assert_error_has("no node that makes codes of its own is meant by the rule for *, operator "
                     "flatten");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_decides),
        cmocka_unit_test(each_type_has_its_rule),
        cmocka_unit_test(batch_norms_make_their_layers_codes),
        cmocka_unit_test(types_of_reals_are_refused),
        cmocka_unit_test(json_reads_back),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(rules_without_use_are_refused),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
