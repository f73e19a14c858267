/* What the files that read recipes share. */
#ifndef CLQUANT_CLI_RECIPE_KEYS_H
#define CLQUANT_CLI_RECIPE_KEYS_H

#include "cli/recipe.h"

/* Reads a key whose value is one of `names` into an enum. */
#define CLQ_READ_ENUM(reader, key, names, field)                                                   \
    do {                                                                                           \
        int index_ = (int)(field);                                                                 \
        CLQ_TRY(clq_json_read_enum((reader), (key), (names), sizeof(names) / sizeof *(names),      \
                                   &index_));                                                      \
        (field) = index_;                                                                          \
    } while (0)

/* The keys that "train" and "qat" have in common, all but "epochs"; `section` is finished by the
 * caller. */
clq_status clq_recipe_read_training(clq_json_reader *section, clq_train_config *config);

#endif
