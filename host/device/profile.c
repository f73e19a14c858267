/* Times of queued commands, from their events.
 *
 * Entries are made when a command is queued and get their time when its event is complete. Events
 * are looked at every few commands, oldest first (the queue is in order), and released at once,
 * so that recording a long run neither stalls the queue nor keeps its events. */
#include <string.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "base/hash.h"
#include "device/cl_status.h"
#include "device/internal.h"

enum { DRAIN_INTERVAL = 64, FIRST_SLOTS = 256 };

/* Grows an array to hold one more; false when memory ran out. */
static bool reserve(void **array, size_t *capacity, size_t count, size_t item_size) {
    if (count < *capacity) {
        return true;
    }
    size_t wanted = *capacity ? *capacity * 2 : 256;
    void *grown = clq_realloc(*array, wanted, item_size);
    if (!grown) {
        return false;
    }
    *array = grown;
    *capacity = wanted;
    return true;
}

static char **find_slot(char **labels, size_t slots, const char *text) {
    size_t i = (size_t)clq_hash64(text, strlen(text)) & (slots - 1);
    while (labels[i] && strcmp(labels[i], text) != 0) {
        i = (i + 1) & (slots - 1);
    }
    return &labels[i];
}

static bool grow_labels(clq_profile *profile) {
    size_t slots = profile->label_slots ? profile->label_slots * 2 : FIRST_SLOTS;
    char **labels = clq_calloc(slots, sizeof *labels);
    if (!labels) {
        return false;
    }
    for (size_t i = 0; i < profile->label_slots; i++) {
        if (profile->labels[i]) {
            *find_slot(labels, slots, profile->labels[i]) = profile->labels[i];
        }
    }
    clq_free(profile->labels);
    profile->labels = labels;
    profile->label_slots = slots;
    return true;
}

/* The current label as a text that lives as long as the entries; NULL when memory ran out. */
static const char *entry_label(clq_profile *profile) {
    if (!profile->label || !*profile->label) {
        return "";
    }
    if (profile->known) {
        return profile->known;
    }
    if (2 * (profile->label_count + 1) > profile->label_slots && !grow_labels(profile)) {
        return NULL;
    }
    char **slot = find_slot(profile->labels, profile->label_slots, profile->label);
    if (!*slot) {
        *slot = clq_strdup(profile->label);
        profile->label_count += *slot != NULL;
    }
    profile->known = *slot;
    return *slot;
}

static double event_ms(cl_event event) {
    cl_ulong start = 0, end = 0;
    if (clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) !=
            CL_SUCCESS ||
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) !=
            CL_SUCCESS ||
        end < start) {
        return 0;
    }
    return (double)(end - start) * 1e-6;
}

static bool is_complete(cl_event event) {
    cl_int state = CL_QUEUED;
    cl_int error =
        clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return error != CL_SUCCESS || state <= CL_COMPLETE; /* negative: failed, and done */
}

/* Reads and releases the events of finished commands, or of all. */
static void drain(clq_profile *profile, bool all) {
    size_t done = 0;
    while (done < profile->pending_count && (all || is_complete(profile->pending[done].event))) {
        clq_pending *p = &profile->pending[done++];
        profile->entries[p->entry].ms = event_ms(p->event);
        clReleaseEvent(p->event);
    }
    profile->pending_count -= done;
    if (done > 0) {
        memmove(profile->pending, profile->pending + done,
                profile->pending_count * sizeof *profile->pending);
    }
}

cl_event *clq_profile_event(clq_device *device, cl_event *event) {
    *event = NULL;
    return device->profile.on ? event : NULL;
}

/* The work-items and work-groups of a complete range. */
static void count_items(const clq_range *range, clq_profile_entry *entry) {
    entry->work_items = entry->work_groups = 1;
    for (unsigned d = 0; d < range->dims; d++) {
        entry->work_items *= range->global[d];
        entry->work_groups *= range->global[d] / range->local[d];
    }
}

void clq_profile_add(clq_device *device, const char *kernel, const clq_range *range,
                     cl_event event) {
    clq_profile *profile = &device->profile;
    const char *label = entry_label(profile);
    if (!label ||
        !reserve((void **)&profile->entries, &profile->entry_capacity, profile->entry_count,
                 sizeof *profile->entries) ||
        !reserve((void **)&profile->pending, &profile->pending_capacity, profile->pending_count,
                 sizeof *profile->pending)) {
        profile->lost = true;
        clReleaseEvent(event);
        return;
    }
    profile->pending[profile->pending_count++] = (clq_pending){event, profile->entry_count};
    clq_profile_entry *entry = &profile->entries[profile->entry_count++];
    *entry = (clq_profile_entry){.label = label, .kernel = kernel, .flops = profile->work};
    if (range) {
        count_items(range, entry);
    }
    if (profile->pending_count % DRAIN_INTERVAL == 0) {
        drain(profile, false);
    }
}

/* Drops the entries and their labels. */
static void clear(clq_profile *profile) {
    drain(profile, true);
    for (size_t i = 0; i < profile->label_slots; i++) {
        clq_free(profile->labels[i]);
    }
    clq_free(profile->labels);
    profile->labels = NULL;
    profile->label_count = profile->label_slots = 0;
    profile->known = NULL;
    profile->entry_count = 0;
    profile->lost = false;
}

clq_status clq_device_profile(clq_device *device, bool on) {
    CLQ_NEEDS(device);
    CLQ_TRY(clq_device_finish(device));
    if (on) {
        clear(&device->profile);
    }
    device->profile.on = on;
    return CLQ_OK;
}

void clq_device_set_label(clq_device *device, const char *label) {
    CLQ_NEEDS_OR(, device);
    clq_profile *profile = &device->profile;
    if (profile->label && label && strcmp(profile->label, label) == 0) {
        return;
    }
    clq_free(profile->label);
    profile->label = label ? clq_strdup(label) : NULL;
    profile->known = NULL;
}

void clq_device_set_work(clq_device *device, double operations) {
    CLQ_NEEDS_OR(, device);
    device->profile.work = operations;
}

clq_status clq_device_profile_entries(clq_device *device, const clq_profile_entry **entries,
                                      size_t *count) {
    CLQ_NEEDS(device, entries, count);
    clq_profile *profile = &device->profile;
    *entries = NULL;
    *count = 0;
    CLQ_TRY(clq_device_finish(device));
    drain(profile, true);
    if (profile->lost) {
        return clq_fail(CLQ_NO_MEMORY, "out of memory while recording the profile of %s",
                        device->info.name);
    }
    *entries = profile->entries;
    *count = profile->entry_count;
    return CLQ_OK;
}

void clq_profile_free(clq_device *device) {
    clq_profile *profile = &device->profile;
    clear(profile);
    clq_free(profile->label);
    clq_free(profile->entries);
    clq_free(profile->pending);
    *profile = (clq_profile){0};
}
