#include "formats/state_names.h"

#include <string.h>

#include "base/log.h"
#include "base/nearest.h"
#include "graph/node.h"

/* What DistributedDataParallel, torch.compile, Lightning and checkpoints put in front. */
static const char *const wrappers[] = {
    "module.",  "_orig_mod.",        "model.",      "net.",       "network.", "backbone.",
    "encoder.", "model_state_dict.", "state_dict.", "ema_model.",
};

enum { MAX_STRIPS = 3, MAX_COMPARED = 4096 };

static bool is_ignored(const char *name) {
    static const char suffix[] = "num_batches_tracked";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return length >= tail && strcmp(name + length - tail, suffix) == 0 &&
           (length == tail || name[length - tail - 1] == '.');
}

/* ---- prefixes ---- */

/* Length of the first part, with its dot, if all names begin with it. */
static size_t find_shared(const clq_tensors *tensors) {
    const char *first = clq_tensors_count(tensors) ? clq_tensors_at(tensors, 0)->name : "";
    const char *dot = strchr(first, '.');
    const size_t length = dot ? (size_t)(dot - first) + 1 : 0;
    for (int i = 1; i < clq_tensors_count(tensors); i++) {
        if (strncmp(clq_tensors_at(tensors, i)->name, first, length) != 0) {
            return 0;
        }
    }
    return length;
}

static size_t wrapper_length(const char *name) {
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        if (strncmp(name, wrappers[i], strlen(wrappers[i])) == 0) {
            return strlen(wrappers[i]);
        }
    }
    return 0;
}

static const char *strip(const clq_state_names *names, const char *name, int strips) {
    for (int i = 0; i < strips; i++) {
        const size_t known = wrapper_length(name);
        name += known ? known : i == 0 ? names->shared_length : 0;
    }
    return name;
}

const char *clq_state_name(const clq_state_names *names, int index) {
    const char *name = clq_tensors_at(names->tensors, index)->name;
    return is_ignored(name) ? NULL : strip(names, name, names->strips);
}

/* ---- matching ---- */

static clq_status want(clq_state_names *names, const clq_graph *graph) {
    for (int i = 0; i < graph->value_count; i++) {
        if (clq_is_constant(&graph->values[i])) {
            CLQ_TRY(clq_names_set(&names->wanted, graph->values[i].name, i));
        }
    }
    return CLQ_OK;
}

static int count_wanted(const clq_state_names *names) {
    int count = 0;
    for (int i = 0; i < clq_tensors_count(names->tensors); i++) {
        const char *name = clq_state_name(names, i);
        count += name && clq_names_find(&names->wanted, name) >= 0;
    }
    return count;
}

clq_status clq_state_names_match(clq_state_names *names, const clq_graph *graph,
                                 const clq_tensors *tensors) {
    int best = 0, most = -1;
    names->tensors = tensors;
    names->shared_length = find_shared(tensors);
    CLQ_TRY(want(names, graph));
    for (names->strips = 0; names->strips <= MAX_STRIPS; names->strips++) {
        const int count = count_wanted(names);
        if (count > most) {
            most = count;
            best = names->strips;
        }
    }
    names->strips = best;
    for (int i = 0; i < clq_tensors_count(tensors); i++) {
        const char *name = clq_state_name(names, i);
        if (name && clq_names_find(&names->found, name) >= 0) {
            return clq_fail(CLQ_BAD_DATA, "\"%.200s\" is there twice, with and without a prefix",
                            name);
        }
        if (name) {
            CLQ_TRY(clq_names_set(&names->found, name, i));
        }
    }
    return CLQ_OK;
}

void clq_state_names_log(const clq_state_names *names, const char *file) {
    int count = 0, all = 0, length = 0;
    const char *first = NULL;
    for (int i = 0; i < clq_tensors_count(names->tensors); i++) {
        const char *whole = clq_tensors_at(names->tensors, i)->name;
        const char *name = clq_state_name(names, i);
        if (name && name > whole) {
            first = count++ ? first : whole;
            length = count == 1 ? (int)(name - whole) : length;
        }
        all += name != NULL;
    }
    if (count > 0) {
        clq_log_info("%s: \"%.*s\" is taken off %d of %d names", file, length, first, count, all);
    }
}

int clq_state_names_nearest(const clq_state_names *names, const char *wanted) {
    const int count = clq_tensors_count(names->tensors);
    const char **others = clq_calloc(MAX_COMPARED, sizeof *others);
    const size_t length = strlen(wanted);
    int nearest = -1, other_count = 0;
    for (int i = 0; others && i < count && nearest < 0; i++) {
        const char *name = clq_state_name(names, i);
        if (!name || clq_names_find(&names->wanted, name) >= 0) {
            continue;
        }
        const size_t tail = strlen(name);
        if (other_count < MAX_COMPARED) { /* letter by letter, which takes a while */
            others[other_count++] = name;
        }
        if (tail > length && name[tail - length - 1] == '.' &&
            strcmp(name + tail - length, wanted) == 0) {
            nearest = i;
        }
    }
    if (others && nearest < 0) {
        const char *name = clq_nearest(wanted, others, (size_t)other_count);
        nearest = name ? clq_names_find(&names->found, name) : -1;
    }
    clq_free(others);
    return nearest;
}

void clq_state_names_free(clq_state_names *names) {
    clq_names_free(&names->found);
    clq_names_free(&names->wanted);
}
