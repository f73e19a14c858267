/* Which nodes work on codes and which types weights get: rules, from flags and JSON. */
#include "quant/policy.h"

#include <fnmatch.h>
#include <string.h>

#include "base/arguments.h"
#include "base/numbers.h"
#include "graph/codes.h"
#include "ops/layer.h"

/* ---- rules ---- */

/* For messages. */
static const char *rule_text(const clq_policy_rule *rule, char text[192]) {
    clq_snprintf(text, 192, "%s%s%s%s%s", rule->name[0] ? rule->name : "*",
                 rule->op[0] ? ", operator " : "", rule->op, rule->first ? ", first layer" : "",
                 rule->last ? ", last layer" : "");
    return text;
}

clq_status clq_policy_add(clq_policy *policy, const clq_policy_rule *rule) {
    CLQ_NEEDS(policy, rule);
    const clq_qtype_info *type = clq_qtype_get(rule->weights);
    if (policy->count >= CLQ_MAX_POLICY_RULES) {
        return clq_fail(CLQ_USAGE, "a policy has at most %d rules", CLQ_MAX_POLICY_RULES);
    }
    if (!rule->keep_float && (!type || !clq_is_code_storage(type->storage))) {
        return clq_fail(CLQ_USAGE,
                        "weights of type %s cannot be executed so far; s8_narrow, s8 and s7 to s2 "
                        "can",
                        type ? type->name : "unknown");
    }
    policy->rules[policy->count++] = *rule;
    return CLQ_OK;
}

static int first_layer(const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        if (clq_is_layer(&graph->nodes[n])) {
            return n;
        }
    }
    return -1;
}

static int last_layer(const clq_graph *graph) {
    int n = graph->node_count - 1;
    while (n >= 0 && !clq_is_layer(&graph->nodes[n])) {
        n--;
    }
    return n;
}

static bool matches(const clq_policy_rule *rule, const clq_graph *graph, int n) {
    const clq_node *node = &graph->nodes[n];
    return (!rule->name[0] || fnmatch(rule->name, node->name, 0) == 0) &&
           (!rule->op[0] || strcmp(rule->op, node->op->name) == 0) &&
           (!rule->first || n == first_layer(graph)) && (!rule->last || n == last_layer(graph));
}

/* The rule that decides about a node; -1: none does. */
static int deciding(const clq_policy *policy, const clq_graph *graph, int node) {
    for (int i = 0; i < policy->count; i++) {
        if (matches(&policy->rules[i], graph, node)) {
            return i;
        }
    }
    return -1;
}

clq_policy_rule clq_policy_find(const clq_policy *policy, const clq_graph *graph, int node) {
    CLQ_NEEDS_OR((clq_policy_rule){.weights = CLQ_Q_S8_NARROW}, policy, graph);
    const int rule = deciding(policy, graph, node);
    return rule < 0 ? (clq_policy_rule){.weights = CLQ_Q_S8_NARROW} : policy->rules[rule];
}

/* A node that the rule means (weights' bits are for layers): rather one about which it decides, as
 * no earlier rule does; -1: none. */
static int meant(const clq_policy *policy, int rule, const clq_graph *graph) {
    int node = -1;
    for (int n = 0; n < graph->node_count; n++) {
        if (matches(&policy->rules[rule], graph, n) &&
            (policy->rules[rule].keep_float || clq_is_layer(&graph->nodes[n]))) {
            node = n;
            if (deciding(policy, graph, n) == rule) {
                break;
            }
        }
    }
    return node;
}

clq_status clq_policy_check(const clq_policy *policy, const clq_graph *graph) {
    CLQ_NEEDS(policy, graph);
    for (int i = 0; i < policy->count; i++) {
        const clq_policy_rule *rule = &policy->rules[i];
        char text[192], earlier[192];
        const int node = meant(policy, i, graph);
        if (node < 0) {
            const int layer = first_layer(graph);
            return clq_fail(
                CLQ_USAGE,
                "policy: no %s is meant by the rule for %s; nodes are called like \"%s\"",
                rule->keep_float ? "node" : "layer", rule_text(rule, text),
                layer < 0 ? graph->nodes[0].name : graph->nodes[layer].name);
        }
        const int decides = deciding(policy, graph, node);
        if (decides != i) {
            return clq_fail(
                CLQ_USAGE,
                "policy: the rule for %s has no effect: an earlier one, for %s, decides "
                "about \"%s\", as the first that matches does; put narrow rules first",
                rule_text(rule, text), rule_text(&policy->rules[decides], earlier),
                graph->nodes[node].name);
        }
    }
    return CLQ_OK;
}

/* ---- JSON ---- */

static clq_status read_text(clq_json_reader *r, const char *key, char *text, size_t size) {
    const char *value = "";
    CLQ_TRY(clq_json_read_string(r, key, &value));
    if (strlen(value) >= size) {
        return clq_json_fail(r, key, "must have at most %zu bytes", size - 1);
    }
    memcpy(text, value, strlen(value) + 1);
    return CLQ_OK;
}

static clq_status read_type(clq_json_reader *r, const char *key, clq_qtype *type) {
    const char *name = clq_qtype_get(*type)->name;
    CLQ_TRY(clq_json_read_string(r, key, &name));
    return clq_qtype_find(name, type)
               ? CLQ_OK
               : clq_json_fail(r, key, "is \"%.40s\", no known type of codes", name);
}

static clq_status read_rule(clq_json_reader *r, clq_policy *policy) {
    static const char *const positions[] = {"any", "first", "last"};
    clq_policy_rule rule = {.weights = CLQ_Q_S8_NARROW};
    clq_qtype activations = CLQ_Q_U8;
    int position = 0;
    CLQ_TRY(read_text(r, "name", rule.name, sizeof rule.name));
    CLQ_TRY(read_text(r, "op", rule.op, sizeof rule.op));
    if (rule.op[0] && !clq_op_find(rule.op)) {
        return clq_json_fail(r, "op", "is \"%s\", no operator", rule.op);
    }
    CLQ_TRY(clq_json_read_enum(r, "layer", positions, 3, &position));
    rule.first = position == 1;
    rule.last = position == 2;
    CLQ_TRY(clq_json_read_bool(r, "float", &rule.keep_float));
    if (rule.keep_float && (clq_json_has(r, "weights") || clq_json_has(r, "activations"))) {
        return clq_json_fail(r, "float", "leaves no types to choose");
    }
    CLQ_TRY(read_type(r, "weights", &rule.weights));
    CLQ_TRY(read_type(r, "activations", &activations));
    if (activations != CLQ_Q_U8) {
        return clq_json_fail(r, "activations", "of type %s cannot be executed so far; u8 can",
                             clq_qtype_get(activations)->name);
    }
    const clq_status status = clq_policy_add(policy, &rule);
    if (status != CLQ_OK) {
        return clq_json_fail(r, "weights", "%s", clq_last_error());
    }
    return clq_json_reader_finish(r);
}

clq_status clq_policy_read(clq_json_reader *reader, const char *key, clq_policy *policy) {
    const json_t *rules = NULL;
    CLQ_TRY(clq_json_read_array(reader, key, &rules));
    if (json_array_size(rules) > (size_t)(CLQ_MAX_POLICY_RULES - policy->count)) {
        return clq_json_fail(reader, key,
                             "has %zu rules; a policy has at most %d, of flags and all",
                             json_array_size(rules), CLQ_MAX_POLICY_RULES);
    }
    for (size_t i = 0; i < json_array_size(rules); i++) {
        clq_json_reader rule;
        CLQ_TRY(clq_json_read_element(reader, key, rules, i, &rule));
        CLQ_TRY(read_rule(&rule, policy));
    }
    return CLQ_OK;
}

clq_status clq_policy_load(clq_policy *policy, const char *path) {
    CLQ_NEEDS(policy, path);
    json_t *json = NULL, *top = NULL;
    clq_json_reader reader;
    clq_status status = CLQ_OK;
    CLQ_TRY(clq_json_load(path, &json));
    if (json_is_array(json)) {
        top = json_object();
        CLQ_GOTO(status, cleanup, clq_json_put(top, "rules", json_incref(json)));
    } else {
        top = json_incref(json);
    }
    CLQ_GOTO(status, cleanup, clq_json_reader_init(&reader, path, top));
    CLQ_GOTO(status, cleanup, clq_json_require(&reader, "rules"));
    CLQ_GOTO(status, cleanup, clq_policy_read(&reader, "rules", policy));
    (void)clq_json_has(&reader, "comment");
    status = clq_json_reader_finish(&reader);
cleanup:
    json_decref(top);
    json_decref(json);
    return status;
}

json_t *clq_policy_to_json(const clq_policy *policy) {
    json_t *rules = json_array();
    for (int i = 0; i < policy->count; i++) {
        const clq_policy_rule *rule = &policy->rules[i];
        json_t *json = json_object();
        if (rule->name[0]) {
            json_object_set_new(json, "name", clq_json_string(rule->name));
        }
        if (rule->op[0]) {
            json_object_set_new(json, "op", json_string(rule->op));
        }
        if (rule->first || rule->last) {
            json_object_set_new(json, "layer", json_string(rule->first ? "first" : "last"));
        }
        if (rule->keep_float) {
            json_object_set_new(json, "float", json_true());
        } else {
            json_object_set_new(json, "weights", json_string(clq_qtype_get(rule->weights)->name));
        }
        json_array_append_new(rules, json);
    }
    return rules;
}
