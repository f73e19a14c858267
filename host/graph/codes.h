/* Codes of weights as they are stored: one a byte, or two. */
#ifndef CLQ_GRAPH_CODES_H
#define CLQ_GRAPH_CODES_H

#include <clquant/graph.h>

/* S8 and S4: what weights of a quantized layer can be stored as. */
static inline bool clq_is_code_storage(clq_dtype dtype) {
    return dtype == CLQ_S8 || dtype == CLQ_S4;
}

/* -8..7, of which the low four bits are kept. packed (count / 2, rounded up) */
void clq_pack_s4(const int8_t *codes, size_t count, uint8_t *packed);
void clq_unpack_s4(const uint8_t *packed, size_t count, int8_t *codes);

/* A parameter of S8 or S4 with a byte a code, for the caller to free. */
clq_status clq_value_codes(const clq_value *value, int8_t **codes);
/* The same without a copy where there is one a byte: *own is NULL then, else for the caller to
 * free. Valid as long as the value's data. */
clq_status clq_value_borrow_codes(const clq_value *value, const int8_t **codes, int8_t **own);
/* Stores `codes`, which it takes over, as the value's data of type `dtype`, S8 or S4. */
clq_status clq_value_set_codes(clq_value *value, clq_dtype dtype, int8_t *codes);

/* The reals that a parameter stands for: its codes, less the zero point, times their scales, of a
 * bias too; floats as they are or, where they have scales, rounded to codes (2) before. reals
 * (count) */
clq_status clq_value_reals(const clq_value *value, float *reals);

#endif
