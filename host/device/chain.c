#include "device/chain.h"

#include <stdio.h>
#include <string.h>

#include "base/environment.h"
#include "base/text.h"
#include "device/cl_status.h"
#include "device/internal.h"
#include "device/recording.h"

enum {
    LINE = 16,   /* kernels/chain.cl: CLQ_CHAIN_LINE */
    CHUNKS = 16, /* that a share has at least, where there are enough work-items */
};

/* kernels/chain.cl: chain_step */
typedef struct step {
    cl_int kernel, arguments, items, chunk, size[3], unused;
} step;

struct clq_chain {
    clq_device *device;
    clq_kernel **kernels; /* (kernel_count), all different */
    int kernel_count;
    cl_program program;
    cl_kernel chain, address;
    int step_count;
    clq_buffer *steps, *arguments;
    clq_buffer *counters[2]; /* of this launch and of the one before, in turns */
    int turn;
    bool uses_scratch;
    unsigned scratch_moves; /* device->scratch.moves when the addresses were taken */
};

bool clq_chain_possible(const clq_device *device) {
    return clq_is_pocl(device) && device->info.is_host_cpu &&
           device->info.schedule == CLQ_SCHEDULE_CPU && !clq_environment_is_off("CLQUANT_CHAIN");
}

/* ---- the program ---- */

static void put_redefinition(clq_text *text, const char *name) {
    clq_text_printf(text, "#define %s(...) %s_items(__VA_ARGS__, const size_t *clq_item)\n", name,
                    name);
}

/* In front of a kernel's source: it becomes a function of its own arguments and `clq_item`, global
 * ids and sizes. So do the other kernels of its file, which nobody calls. */
static void put_prefix(clq_text *text, const clq_kernel *kernel) {
    clq_text_puts(text, "#define __kernel static\n#define CLQ_ITEM clq_item\n");
    put_redefinition(text, kernel->name);
    for (unsigned long i = 0; i < clq_kernel_registry_count; i++) {
        const clq_kernel_entry *other = &clq_kernel_registry[i];
        if (other->source == kernel->program->source && strcmp(other->name, kernel->name) != 0) {
            put_redefinition(text, other->name);
        }
    }
    clq_text_puts(text, "#line 1\n");
}

/* Behind it: clq_chain_INDEX, which takes the arguments from where a chain keeps them. */
static void put_suffix(clq_text *text, const clq_recorded *launch, int index) {
    clq_text_printf(text,
                    "\n#undef %s\nvoid clq_chain_%d(__global const ulong *a, const size_t *item) "
                    "{\n    %s_items(",
                    launch->kernel->name, index, launch->kernel->name);
    for (size_t i = 0; i < launch->kernel->arg_count; i++) {
        switch (launch->args[i].kind) {
        case CLQ_ARG_BUFFER:
            clq_text_printf(text, "(__global void *)a[%zu], ", i);
            break;
        case CLQ_ARG_F32:
            clq_text_printf(text, "as_float((uint)a[%zu]), ", i);
            break;
        default:
            clq_text_printf(text, "(int)a[%zu], ", i);
        }
    }
    clq_text_puts(text, "item);\n}\n");
}

/* `sources`: three texts, the second of the registry. */
static clq_status compile(clq_device *device, const char *const sources[3], const char *options,
                          const char *name, cl_program *program) {
    cl_int error;
    cl_program made =
        clCreateProgramWithSource(device->context, 3, (const char **)sources, NULL, &error);
    if (error == CL_SUCCESS) {
        error = clq_program_compile(device, made, sources[1], options, false);
    }
    if (error != CL_SUCCESS) {
        const clq_status status = clq_program_fail(device, made, error, name, options);
        if (made) {
            clReleaseProgram(made);
        }
        return status;
    }
    *program = made;
    return CLQ_OK;
}

/* The kernel of `launch` as clq_chain_INDEX. */
static clq_status compile_kernel(clq_device *device, const clq_recorded *launch, int index,
                                 cl_program *program) {
    const clq_program *own = launch->kernel->program;
    clq_status status = CLQ_OK;
    clq_text prefix = {0}, suffix = {0};
    char *options = NULL;
    put_prefix(&prefix, launch->kernel);
    put_suffix(&suffix, launch, index);
    CLQ_GOTO(status, cleanup, clq_text_status(&prefix));
    CLQ_GOTO(status, cleanup, clq_text_status(&suffix));
    CLQ_GOTO(status, cleanup,
             clq_program_options(device, own->source, own->dot, own->options, &options));
    const char *const sources[] = {prefix.data, own->source, suffix.data};
    CLQ_GOTO(status, cleanup, compile(device, sources, options, launch->kernel->name, program));
cleanup:
    clq_text_free(&prefix);
    clq_text_free(&suffix);
    clq_free(options);
    return status;
}

/* kernels/chain.cl with so many functions to call. */
static clq_status compile_chain(clq_device *device, int kernels, const char *own_options,
                                cl_program *program) {
    clq_status status = CLQ_OK;
    clq_text prefix = {0};
    char *options = NULL;
    const char *const source = clq_kernel_source("chain");
    clq_text_puts(&prefix, "#define CHAIN_DECLARE");
    for (int k = 0; k < kernels; k++) {
        clq_text_printf(&prefix, " void clq_chain_%d(__global const ulong *, const size_t *);", k);
    }
    clq_text_puts(&prefix, "\n#define CHAIN_CASES");
    for (int k = 0; k < kernels; k++) {
        clq_text_printf(&prefix, " case %d: clq_chain_%d(arguments, item); break;", k, k);
    }
    clq_text_puts(&prefix, "\n#line 1\n");
    CLQ_GOTO(status, cleanup, clq_text_status(&prefix));
    CLQ_GOTO(status, cleanup,
             clq_program_options(device, source, device->info.dot, own_options, &options));
    const char *const sources[] = {prefix.data, source, ""};
    CLQ_GOTO(status, cleanup, compile(device, sources, options, "chain", program));
cleanup:
    clq_text_free(&prefix);
    clq_free(options);
    return status;
}

static clq_status create_kernels(clq_chain *chain) {
    cl_int error;
    chain->chain = clCreateKernel(chain->program, "chain", &error);
    if (error == CL_SUCCESS) {
        chain->address = clCreateKernel(chain->program, "chain_address", &error);
    }
    return error == CL_SUCCESS ? CLQ_OK : clq_cl_fail(error, "creating the kernels of a chain");
}

/* Compiles every kernel by itself, as their sources share names, and links them. */
static clq_status build(clq_chain *chain, const clq_recorder *noted, const char *options) {
    clq_device *device = chain->device;
    clq_status status = CLQ_OK;
    cl_int error = CL_SUCCESS;
    const int count = chain->kernel_count + 1;
    cl_program *parts = clq_calloc((size_t)count, sizeof(cl_program));
    if (!parts) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, compile_chain(device, chain->kernel_count, options, &parts[0]));
    for (int k = 0; k < chain->kernel_count; k++) {
        int l = 0;
        while (noted->launches[l].kernel != chain->kernels[k]) {
            l++;
        }
        CLQ_GOTO(status, cleanup, compile_kernel(device, &noted->launches[l], k, &parts[k + 1]));
    }
    chain->program = clLinkProgram(device->context, 1, &device->id, NULL, (cl_uint)count, parts,
                                   NULL, NULL, &error);
    if (error != CL_SUCCESS) {
        status = clq_cl_fail(error, "linking the kernels of a chain on %s", device->info.name);
        goto cleanup;
    }
    status = create_kernels(chain);
cleanup:
    for (int k = 0; k < count; k++) {
        if (parts[k]) {
            clReleaseProgram(parts[k]);
        }
    }
    clq_free(parts);
    return status;
}

/* ---- the tables ---- */

static int find_kernel(clq_kernel *const *kernels, int count, const clq_kernel *kernel) {
    int k = 0;
    while (k < count && kernels[k] != kernel) {
        k++;
    }
    return k;
}

static size_t count_arguments(const clq_recorder *noted) {
    size_t count = 0;
    for (int l = 0; l < noted->count; l++) {
        count += noted->launches[l].kernel->arg_count;
    }
    return count;
}

static cl_int chunk_of(const clq_device *device, size_t items) {
    const size_t chunk = items / ((size_t)device->info.compute_units * CHUNKS);
    return chunk < 1 ? 1 : (cl_int)chunk;
}

/* The device's own note of where a buffer lies. */
static clq_status write_address(clq_chain *chain, cl_mem memory, cl_int at) {
    const size_t one = 1;
    cl_int error = clSetKernelArg(chain->address, 0, sizeof memory, &memory);
    error = error ? error
                  : clSetKernelArg(chain->address, 1, sizeof(cl_mem), &chain->arguments->memory);
    error = error ? error : clSetKernelArg(chain->address, 2, sizeof at, &at);
    error = error ? error
                  : clEnqueueNDRangeKernel(chain->device->queue, chain->address, 1, NULL, &one,
                                           &one, 0, NULL, NULL);
    return error == CL_SUCCESS ? CLQ_OK : clq_cl_fail(error, "taking the address of a buffer");
}

static cl_ulong argument_word(const clq_arg *arg) {
    if (arg->kind == CLQ_ARG_BUFFER) {
        return 0;
    }
    return arg->value.u32; /* the bits of any number */
}

static clq_status write_tables(clq_chain *chain, const clq_recorder *noted) {
    clq_status status = CLQ_OK;
    const size_t words = count_arguments(noted), size = words * sizeof(cl_ulong);
    const size_t steps_size = (size_t)noted->count * sizeof(step);
    cl_ulong *arguments = clq_calloc(words, sizeof *arguments);
    step *steps = clq_calloc((size_t)noted->count, sizeof *steps);
    size_t at = 0;
    if (!arguments || !steps) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    for (int l = 0; l < noted->count; l++) {
        const clq_recorded *launch = &noted->launches[l];
        size_t items = 1;
        steps[l].kernel = find_kernel(chain->kernels, chain->kernel_count, launch->kernel);
        steps[l].arguments = (cl_int)at;
        for (unsigned d = 0; d < 3; d++) {
            steps[l].size[d] = (cl_int)launch->global[d];
            items *= launch->global[d];
        }
        steps[l].items = (cl_int)items;
        steps[l].chunk = chunk_of(chain->device, items);
        for (size_t i = 0; i < launch->kernel->arg_count; i++) {
            arguments[at++] = argument_word(&launch->args[i]);
        }
    }
    CLQ_GOTO(status, cleanup, clq_buffer_write(chain->steps, 0, steps_size, steps));
    CLQ_GOTO(status, cleanup, clq_buffer_write(chain->arguments, 0, size, arguments));
    at = 0;
    for (int l = 0; l < noted->count; l++) {
        const clq_recorded *launch = &noted->launches[l];
        for (size_t i = 0; i < launch->kernel->arg_count; i++, at++) {
            if (launch->memory[i]) {
                CLQ_GOTO(status, cleanup, write_address(chain, launch->memory[i], (cl_int)at));
            }
        }
    }
    chain->uses_scratch = noted->uses_scratch;
    chain->scratch_moves = chain->device->scratch.moves;
    status = clq_device_finish(chain->device);
cleanup:
    clq_free(arguments);
    clq_free(steps);
    return status;
}

static clq_status take_memory(clq_chain *chain, const clq_recorder *noted) {
    clq_device *device = chain->device;
    const size_t lines = (size_t)noted->count * (device->info.compute_units + 1);
    const size_t size = lines * LINE * sizeof(cl_int);
    chain->step_count = noted->count;
    CLQ_TRY(clq_buffer_create(device, (size_t)noted->count * sizeof(step), &chain->steps));
    CLQ_TRY(
        clq_buffer_create(device, count_arguments(noted) * sizeof(cl_ulong), &chain->arguments));
    for (int i = 0; i < 2; i++) {
        CLQ_TRY(clq_buffer_create(device, size, &chain->counters[i]));
        CLQ_TRY(clq_buffer_fill(chain->counters[i], 0, size, 0));
    }
    return CLQ_OK;
}

static clq_status list_kernels(clq_chain *chain, const clq_recorder *noted) {
    chain->kernels = clq_calloc((size_t)noted->count, sizeof(clq_kernel *));
    if (!chain->kernels) {
        return CLQ_NO_MEMORY;
    }
    for (int l = 0; l < noted->count; l++) {
        clq_kernel *kernel = noted->launches[l].kernel;
        if (find_kernel(chain->kernels, chain->kernel_count, kernel) == chain->kernel_count) {
            chain->kernels[chain->kernel_count++] = kernel;
        }
    }
    return CLQ_OK;
}

/* ---- making and running ---- */

static clq_status make(clq_device *device, const clq_recorder *noted, const char *options,
                       clq_chain **chain) {
    clq_status status = CLQ_OK;
    clq_chain *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->device = device;
    CLQ_GOTO(status, cleanup, list_kernels(made, noted));
    CLQ_GOTO(status, cleanup, build(made, noted, options ? options : ""));
    CLQ_GOTO(status, cleanup, take_memory(made, noted));
    CLQ_GOTO(status, cleanup, write_tables(made, noted));
    *chain = made;
    made = NULL;
cleanup:
    clq_chain_destroy(made);
    return status;
}

/* Other buffers for a chain of the same launches. */
static clq_status rebind(const clq_recorder *noted, clq_chain *chain) {
    bool same = noted->count == chain->step_count;
    for (int l = 0; same && l < noted->count; l++) {
        same = find_kernel(chain->kernels, chain->kernel_count, noted->launches[l].kernel) <
               chain->kernel_count;
    }
    return same ? write_tables(chain, noted)
                : clq_fail(CLQ_DEVICE, "a chain was made of other launches");
}

clq_status clq_chain_make(clq_device *device, const char *options, clq_chain **chain) {
    clq_recorder *noted = device->recorder;
    device->recorder = NULL; /* what follows is queued */
    clq_status status = CLQ_OK;
    if (noted->refused) {
        status = clq_fail(CLQ_DEVICE, "no chain: %s", noted->refused);
    } else if (noted->count == 0) {
        status = clq_fail(CLQ_DEVICE, "no chain: nothing was launched");
    } else {
        status = *chain ? rebind(noted, *chain) : make(device, noted, options, chain);
    }
    clq_recorder_free(noted);
    return status;
}

bool clq_chain_ready(const clq_chain *chain) {
    return !chain->device->profile.on;
}

bool clq_chain_moved(const clq_chain *chain) {
    return chain->uses_scratch && chain->scratch_moves != chain->device->scratch.moves;
}

clq_status clq_chain_run(clq_chain *chain) {
    const size_t groups = chain->device->info.compute_units, one = 1;
    const cl_int count = chain->step_count;
    const cl_mem buffers[] = {chain->steps->memory, chain->arguments->memory,
                              chain->counters[chain->turn]->memory,
                              chain->counters[1 - chain->turn]->memory};
    cl_int error = clSetKernelArg(chain->chain, 0, sizeof(cl_mem), &buffers[0]);
    error = error ? error : clSetKernelArg(chain->chain, 1, sizeof count, &count);
    for (cl_uint i = 1; i < 4; i++) {
        error = error ? error : clSetKernelArg(chain->chain, i + 1, sizeof(cl_mem), &buffers[i]);
    }
    error = error ? error
                  : clEnqueueNDRangeKernel(chain->device->queue, chain->chain, 1, NULL, &groups,
                                           &one, 0, NULL, NULL);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "launching a chain of %d kernels on %s", count,
                           chain->device->info.name);
    }
    chain->turn = 1 - chain->turn;
    return CLQ_OK;
}

void clq_chain_destroy(clq_chain *chain) {
    if (!chain) {
        return;
    }
    if (chain->chain) {
        clReleaseKernel(chain->chain);
    }
    if (chain->address) {
        clReleaseKernel(chain->address);
    }
    if (chain->program) {
        clReleaseProgram(chain->program);
    }
    clq_buffer_release(chain->steps);
    clq_buffer_release(chain->arguments);
    clq_buffer_release(chain->counters[0]);
    clq_buffer_release(chain->counters[1]);
    clq_free(chain->kernels);
    clq_free(chain);
}
