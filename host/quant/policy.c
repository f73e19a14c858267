/* Which nodes work on codes, and which types weights and activations get: rules, from flags and
 * JSON. */
#include "quant/policy.h"

#include <fnmatch.h>
#include <string.h>

#include "base/arguments.h"
#include "base/numbers.h"
#include "ops/layer.h"
#include "ops/registry.h"

static const char op_input[] = "input"; /* what rules call an input of the network */

/* ---- rules ---- */

/* For messages. */
static const char *rule_text(const clq_policy_rule *rule, char text[192]) {
    clq_snprintf(text, 192, "%s%s%s%s%s", rule->name[0] ? rule->name : "*",
                 rule->op[0] ? ", operator " : "", rule->op, rule->first ? ", first layer" : "",
                 rule->last ? ", last layer" : "");
    return text;
}

static const char *type_name(clq_qtype type) {
    const clq_qtype_info *info = clq_qtype_get(type);
    return info ? info->name : "unknown";
}

static bool is_wrong(clq_qtype type, bool (*fits)(clq_qtype)) {
    return type != CLQ_Q_NONE && type != CLQ_Q_FLOAT && !fits(type);
}

clq_status clq_policy_add(clq_policy *policy, const clq_policy_rule *rule) {
    CLQ_NEEDS(policy, rule);
    if (policy->count >= CLQ_MAX_POLICY_RULES) {
        return clq_fail(CLQ_USAGE, "a policy has at most %d rules", CLQ_MAX_POLICY_RULES);
    }
    if (is_wrong(rule->weights, clq_qtype_for_weights)) {
        return clq_fail(CLQ_USAGE,
                        "weights of type %s cannot be executed; s8_narrow, s8 and s7 to s2 can",
                        type_name(rule->weights));
    }
    if (is_wrong(rule->activations, clq_qtype_for_activations)) {
        return clq_fail(CLQ_USAGE,
                        "activations of type %s cannot be executed: codes of activations are "
                        "bytes, u8 to u2, s8, s8_narrow and s7 to s2",
                        type_name(rule->activations));
    }
    clq_policy_rule *added = &policy->rules[policy->count++];
    *added = *rule;
    if (!rule->keep_float && rule->weights == CLQ_Q_NONE && rule->activations == CLQ_Q_NONE) {
        added->weights = CLQ_Q_S8_NARROW;
        added->activations = CLQ_Q_U8;
    }
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

/* What rules can meet: the nodes, 0 .. node_count - 1, and the inputs, as -1 - value. */
static bool is_input(int place) {
    return place < 0;
}

static const char *name_of(const clq_graph *graph, int place) {
    return is_input(place) ? graph->values[-1 - place].name : graph->nodes[place].name;
}

static bool matches(const clq_policy_rule *rule, const clq_graph *graph, int place) {
    const char *op = is_input(place) ? op_input : graph->nodes[place].op->name;
    return (!rule->name[0] || fnmatch(rule->name, name_of(graph, place), 0) == 0) &&
           (!rule->op[0] || strcmp(rule->op, op) == 0) &&
           (!rule->first || (!is_input(place) && place == first_layer(graph))) &&
           (!rule->last || (!is_input(place) && place == last_layer(graph)));
}

/* What a rule can decide. */
typedef enum subject { KEEP_FLOAT, WEIGHTS, ACTIVATIONS, SUBJECTS } subject;

static bool says(const clq_policy_rule *rule, subject what) {
    return what == KEEP_FLOAT ||
           (what == WEIGHTS ? rule->weights : rule->activations) != CLQ_Q_NONE;
}

/* Who makes the codes: of a batch norm that is not folded, and of the ReLU that alone reads it, the
 * layer before, as once they are folded. */
static int maker(const clq_graph *graph, int place) {
    int at = place;
    if (is_input(place)) {
        return place;
    }
    const clq_op *op = graph->nodes[at].op;
    if ((op == &clq_op_relu || op == &clq_op_relu6) &&
        clq_graph_use_count(graph, graph->nodes[at].inputs[0]) == 1) {
        at = graph->values[graph->nodes[at].inputs[0]].producer;
    }
    if (at < 0 || graph->nodes[at].op != &clq_op_batch_norm) {
        return place;
    }
    at = graph->values[graph->nodes[at].inputs[0]].producer;
    return at >= 0 && clq_is_layer(&graph->nodes[at]) ? at : place;
}

/* The rule that decides; -1: none does. */
static int deciding(const clq_policy *policy, const clq_graph *graph, int place, subject what) {
    place = what == ACTIVATIONS ? maker(graph, place) : place;
    for (int i = 0; i < policy->count; i++) {
        if (says(&policy->rules[i], what) && matches(&policy->rules[i], graph, place)) {
            return i;
        }
    }
    return -1;
}

static clq_qtype activations_of(const clq_policy *policy, const clq_graph *graph, int place) {
    const int rule = deciding(policy, graph, place, ACTIVATIONS);
    return rule < 0 ? CLQ_Q_U8 : policy->rules[rule].activations;
}

clq_policy_rule clq_policy_find(const clq_policy *policy, const clq_graph *graph, int node) {
    clq_policy_rule found = {.weights = CLQ_Q_S8_NARROW, .activations = CLQ_Q_U8};
    CLQ_NEEDS_OR(found, policy, graph);
    const int real = deciding(policy, graph, node, KEEP_FLOAT);
    const int weights = deciding(policy, graph, node, WEIGHTS);
    found.keep_float = real >= 0 && policy->rules[real].keep_float;
    found.weights = weights < 0 ? found.weights : policy->rules[weights].weights;
    found.activations = activations_of(policy, graph, node);
    return found;
}

clq_qtype clq_policy_find_input(const clq_policy *policy, const clq_graph *graph, int input) {
    CLQ_NEEDS_OR(CLQ_Q_U8, policy, graph);
    return activations_of(policy, graph, -1 - input);
}

/* ---- rules that decide nothing ---- */

/* Whether what the rule says about this subject is of use at this place: weights' types are for
 * layers, activations' for what makes codes of its own. */
static bool is_meant(const clq_policy_rule *rule, const clq_graph *graph, int place, subject what) {
    if (!matches(rule, graph, place) || !says(rule, what)) {
        return false;
    }
    switch (what) {
    case KEEP_FLOAT:
        return rule->keep_float && !is_input(place);
    case WEIGHTS:
        return !is_input(place) && clq_is_layer(&graph->nodes[place]);
    default:
        return is_input(place) || rule->activations == CLQ_Q_FLOAT ||
               !graph->nodes[place].op->output_shares_qparams;
    }
}

/* The rule that has the word where another one is meant: it, or what keeps the layer float. */
static int overruling(const clq_policy *policy, const clq_graph *graph, int place, subject what) {
    const int real = deciding(policy, graph, place, KEEP_FLOAT);
    return what == WEIGHTS && policy->rules[real].keep_float ? real
                                                             : deciding(policy, graph, place, what);
}

/* Finds whether the rule decides anything; else a place where it is meant, and who decides there:
 * *earlier -1 when it is meant nowhere. */
static bool decides(const clq_policy *policy, int rule, const clq_graph *graph, int *place,
                    int *earlier) {
    *earlier = -1;
    for (int i = 0; i < graph->input_count + graph->node_count; i++) {
        const int at = i < graph->input_count ? -1 - graph->inputs[i] : i - graph->input_count;
        for (int what = 0; what < SUBJECTS; what++) {
            if (!is_meant(&policy->rules[rule], graph, at, (subject)what)) {
                continue;
            }
            const int word = overruling(policy, graph, at, (subject)what);
            if (word == rule) {
                return true;
            }
            *earlier = word;
            *place = at;
        }
    }
    return false;
}

clq_status clq_policy_check(const clq_policy *policy, const clq_graph *graph) {
    CLQ_NEEDS(policy, graph);
    for (int i = 0; i < policy->count; i++) {
        const clq_policy_rule *rule = &policy->rules[i];
        char text[192], other[192];
        int place = 0, earlier;
        if (decides(policy, i, graph, &place, &earlier)) {
            continue;
        }
        if (earlier < 0) {
            const int layer = first_layer(graph);
            return clq_fail(
                CLQ_USAGE,
                "policy: no %s is meant by the rule for %s; nodes are called like \"%s\"",
                says(rule, ACTIVATIONS) ? "node that makes codes of its own"
                : rule->keep_float      ? "node"
                                        : "layer",
                rule_text(rule, text), name_of(graph, layer < 0 ? 0 : layer));
        }
        return clq_fail(CLQ_USAGE,
                        "policy: the rule for %s has no effect: an earlier one, for %s, decides "
                        "about \"%s\", as the first that matches does; put narrow rules first",
                        rule_text(rule, text), rule_text(&policy->rules[earlier], other),
                        name_of(graph, place));
    }
    return CLQ_OK;
}

/* What is made at a place. */
static int value_of(const clq_graph *graph, int place) {
    return is_input(place) ? -1 - place : graph->nodes[place].output;
}

/* Whether the rule gives a type to any codes; else *place is one where it would. */
static bool types_codes(const clq_policy *policy, int rule, const clq_graph *graph,
                        const bool *codes, int *place) {
    for (int i = 0; i < graph->input_count + graph->node_count; i++) {
        const int at = i < graph->input_count ? -1 - graph->inputs[i] : i - graph->input_count;
        if (deciding(policy, graph, at, ACTIVATIONS) == rule) {
            if (codes[value_of(graph, at)]) {
                return true;
            }
            *place = at;
        }
    }
    return false;
}

clq_status clq_policy_check_codes(const clq_policy *policy, const clq_graph *graph,
                                  const bool *codes) {
    for (int i = 0; i < policy->count; i++) {
        const clq_policy_rule *rule = &policy->rules[i];
        char text[192];
        int place = 0;
        if (rule->name[0] && says(rule, ACTIVATIONS) && rule->activations != CLQ_Q_FLOAT &&
            !says(rule, WEIGHTS) && !types_codes(policy, i, graph, codes, &place)) {
            return clq_fail(CLQ_USAGE,
                            "policy: the rule for %s has no effect: what \"%s\" makes stays real, "
                            "so there are no codes to give a type to",
                            rule_text(rule, text), name_of(graph, place));
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
    const char *name = NULL;
    CLQ_TRY(clq_json_read_string(r, key, &name));
    return !name || clq_qtype_find(name, type)
               ? CLQ_OK
               : clq_json_fail(r, key, "is \"%.40s\", no known type of codes", name);
}

static clq_status read_rule(clq_json_reader *r, clq_policy *policy) {
    static const char *const positions[] = {"any", "first", "last"};
    clq_policy_rule rule = {.keep_float = false};
    int position = 0;
    CLQ_TRY(read_text(r, "name", rule.name, sizeof rule.name));
    CLQ_TRY(read_text(r, "op", rule.op, sizeof rule.op));
    if (rule.op[0] && !clq_op_find(rule.op) && strcmp(rule.op, op_input) != 0) {
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
    CLQ_TRY(read_type(r, "activations", &rule.activations));
    const clq_status status = clq_policy_add(policy, &rule);
    if (status != CLQ_OK) {
        return clq_json_fail(r, clq_json_has(r, "activations") ? "activations" : "weights", "%s",
                             clq_last_error());
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
        }
        if (rule->weights != CLQ_Q_NONE) {
            json_object_set_new(json, "weights", json_string(type_name(rule->weights)));
        }
        if (rule->activations != CLQ_Q_NONE) {
            json_object_set_new(json, "activations", json_string(type_name(rule->activations)));
        }
        json_array_append_new(rules, json);
    }
    return rules;
}
