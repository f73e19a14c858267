/* Keys of settings, as recipes and options have them (docs/recipes.md). A reader's object is
 * finished by the caller. */
#ifndef CLQUANT_SESSION_KEYS_H
#define CLQUANT_SESSION_KEYS_H

#include <clquant/quant.h>

#include "base/json.h"

/* Reads a key whose value is one of `names` into an enum. */
#define CLQ_READ_ENUM(reader, key, names, field)                                                   \
    do {                                                                                           \
        int index_ = (int)(field);                                                                 \
        CLQ_TRY(clq_json_read_enum((reader), (key), (names), sizeof(names) / sizeof *(names),      \
                                   &index_));                                                      \
        (field) = index_;                                                                          \
    } while (0)

/* The keys that "train" and "qat" have in common, all but "epochs". */
clq_status clq_keys_read_training(clq_json_reader *section, clq_train_config *config);
/* The keys that "ptq" and "qat" have in common: those of "ptq". */
clq_status clq_keys_read_quantization(clq_json_reader *section, clq_quant_config *config);
/* Those of "qat", and what holds without any, beside a training and a ptq. */
clq_status clq_keys_read_qat(clq_json_reader *section, clq_train_config *qat,
                             clq_quant_config *quant);
void clq_keys_init_qat(const clq_train_config *train, const clq_quant_config *ptq,
                       clq_train_config *qat, clq_quant_config *quant);
/* mean, std, range, channels, resize and interpolation of "data": what is said becomes known. */
clq_status clq_keys_read_preprocessing(clq_json_reader *section, clq_preprocessing *given);
/* A single mean or std stands for as many as the other has; false: they have different numbers. */
bool clq_normalization_spread(clq_normalization *n, size_t *means, size_t *stds);

#endif
