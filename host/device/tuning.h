/* What `clquant tune` found fastest on a device: a table from keys to choices, both texts that the
 * operators give a meaning (ops/conv/conv_choice.h). An open device owns its table; a choice only
 * matters for speed, and whoever reads one must check it.
 *
 * Where    CLQUANT_TUNE=FILE names the file; CLQUANT_TUNE=off: there is none, the table starts
 *          empty. Else tune/IDENTITY.json in the cache folder (cache_file.h says where that is and
 *          how it is switched off). It may be deleted at any time.
 * Key      of the file: IDENTITY, a hash of platform, device and driver with their versions, and
 *          the number of compute units. Of an entry: what was measured, with the dot path.
 * Format   JSON: {"schema": 1, "identity": IDENTITY, "device": its name, "choices": {KEY: CHOICE}}.
 *          A file that is damaged, of another schema or of another device is ignored with one
 *          warning; a missing one is an empty table, with a warning where CLQUANT_TUNE names it.
 * Sharing  any number of processes may read and write one file: under a lock (.NAME.lock beside it)
 *          a save joins what others have put there since, and writes beside and renames. */
#ifndef CLQ_DEVICE_TUNING_H
#define CLQ_DEVICE_TUNING_H

#include "clquant/device.h"

/* The choice, valid until the table changes; NULL when there is none. */
const char *clq_tuning_find(const clq_device *device, const char *key);
/* Changes the open device's table; NULL removes. Saved by clq_tuning_save alone. */
clq_status clq_tuning_set(clq_device *device, const char *key, const char *choice);
/* Writes the table to its file and takes over what others have added there. CLQ_USAGE when there
 * is no file, CLQ_BAD_DATA when CLQUANT_TUNE names one that is no table of this device. */
clq_status clq_tuning_save(clq_device *device);
/* The table's file (clq_free it); NULL: there is none, or memory ran out. */
char *clq_tuning_path(const clq_device *device);

/* ---- for device.c ---- */

/* Fills the table of a device that is being opened. */
clq_status clq_tuning_open(clq_device *device);
void clq_tuning_close(clq_device *device);

#endif
