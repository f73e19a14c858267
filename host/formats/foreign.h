/* What a file is that was given as a model or as weights and is neither. */
#ifndef CLQ_FORMATS_FOREIGN_H
#define CLQ_FORMATS_FOREIGN_H

#include <clquant/base.h>

typedef enum clq_expected_file { CLQ_EXPECTED_ONNX, CLQ_EXPECTED_SAFETENSORS } clq_expected_file;

/* CLQ_BAD_DATA, "is a Git LFS pointer ...; get the file itself by ...", when the first bytes of a
 * file (of `size` in all) are an empty file's or those of another known kind; CLQ_OK otherwise. */
clq_status clq_foreign_check(clq_expected_file expected, const void *head, size_t head_size);

/* The same of a path that is a folder: a TensorFlow SavedModel, or one that holds models. */
clq_status clq_foreign_check_folder(clq_expected_file expected, const char *path);

#endif
