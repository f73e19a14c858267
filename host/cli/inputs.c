#include "cli/inputs.h"

#include <string.h>

#include "base/files.h"
#include "data/csv.h"

bool clq_inputs_are_arrays(const char *path) {
    return clq_path_has_extension(path, ".npy") || clq_path_has_extension(path, ".npz");
}

/* Whether there are images or a table that the network could read. */
static clq_status check_images(const char *path, const clq_graph *graph) {
    if (!clq_file_exists(path) && strncmp(path, "synthetic", 9) != 0) {
        return clq_fail(CLQ_NO_INPUT, "%s: no such array, table, image or folder of images", path);
    }
    const bool rows =
        graph->input_count == 1 && graph->values[clq_graph_input(graph)].shape.rank == 2;
    if (rows && !clq_csv_named(path)) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: the network takes rows, not images: give a table, X.csv, or an array, "
                        "X.npy (N, features), normalized as the network wants it",
                        path);
    }
    return CLQ_OK;
}

clq_data_source clq_inputs_source(const char *inputs, const char *data,
                                  const clq_image_flags *flags) {
    return (clq_data_source){.path = inputs ? inputs : data,
                             .flags = flags,
                             .any_classes = true,
                             .inputs_only = inputs != NULL};
}

clq_status clq_inputs_open_arrays(const char *path, const clq_image_flags *flags,
                                  const clq_graph *graph, clq_arrays **arrays) {
    *arrays = NULL;
    if (!path || !clq_inputs_are_arrays(path)) {
        return path ? check_images(path, graph) : CLQ_OK;
    }
    if (flags->given.known || flags->labels) {
        return clq_fail(CLQ_USAGE, "flags that prepare images are of no use to arrays, which are "
                                   "fed as they are");
    }
    return clq_arrays_open(path, arrays);
}

clq_status clq_inputs_open(const char *path, const clq_image_flags *flags, clq_graph *graph,
                           int64_t limit, clq_inputs *inputs) {
    const clq_data_source source = clq_inputs_source(path, NULL, flags);
    *inputs = (clq_inputs){0};
    CLQ_TRY(clq_inputs_open_arrays(path, flags, graph, &inputs->arrays));
    if (inputs->arrays) {
        inputs->count = clq_arrays_rows(inputs->arrays);
        return CLQ_OK;
    }
    CLQ_TRY(clq_data_open(&source, graph, CLQ_SPLIT_TEST, clq_csv_named(path) ? 0 : limit,
                          &inputs->dataset));
    inputs->count = clq_dataset_get_info(inputs->dataset)->count;
    return CLQ_OK;
}

void clq_inputs_close(clq_inputs *inputs) {
    clq_arrays_close(inputs->arrays);
    clq_dataset_close(inputs->dataset);
    *inputs = (clq_inputs){0};
}

clq_status clq_inputs_feed(clq_device *device, const clq_graph *graph, const clq_inputs *inputs,
                           int batch, clq_feed **feed) {
    return inputs->arrays ? clq_feed_create_arrays(graph, inputs->arrays, batch, 0, feed)
                          : clq_data_feed(device, graph, inputs->dataset, batch, feed);
}
