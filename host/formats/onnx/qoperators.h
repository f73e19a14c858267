/* Operators of QOperator form, which work on codes: those that are read and written. */
#ifndef CLQ_FORMATS_ONNX_QOPERATORS_H
#define CLQ_FORMATS_ONNX_QOPERATORS_H

#include "formats/onnx/wire.h"

/* How an operator's inputs are laid out: operands of three (codes, scale, zero point) from `first`
 * on, the output's scale and zero point at `out`. */
typedef struct onnx_qoperator {
    const char *domain, *name; /* NULL: behind the last one */
    const char *op;            /* that on reals */
    int first, operands;       /* -1: as many as there are */
    int out;
    bool optional_out; /* without it the output is real */
    int bias;          /* S32, its scale is the product of the operands'; 0: there is none */
    int weight_axis;   /* of the second operand, by which its scales go; attribute transB: the other
                          of two */
    bool is_written;   /* ONNX Runtime has it */
} onnx_qoperator;

#define ONNX_MICROSOFT "com.microsoft"
extern const onnx_qoperator onnx_qoperators[];

/* "" for ONNX's own. */
const char *onnx_domain_of(const Onnx__NodeProto *node);
const Onnx__AttributeProto *onnx_proto_attribute(const Onnx__NodeProto *node, const char *name);
/* Whether a node's output has the codes of its first input; of a Concat, of all of them. */
bool onnx_passes_codes(const Onnx__NodeProto *node);
/* The same, where ONNX Runtime takes codes. */
bool onnx_passes_codes_anywhere(const Onnx__NodeProto *node);

#endif
