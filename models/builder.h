/* Small steps that the network builders are written in.
 *
 * A step adds one layer and returns its output value. Failure is sticky: after the first one every
 * step does nothing, and the caller looks at `status` once, at the end. Layer names are the
 * builder's scope ("layer1.0.") followed by the step's name ("conv1"). */
#ifndef CLQ_MODELS_BUILDER_H
#define CLQ_MODELS_BUILDER_H

#include <clquant/models.h>
#include <clquant/ops.h>

enum { CLQ_SCOPE_SIZE = 64 };

typedef enum clq_linear_init {
    CLQ_LINEAR_UNIFORM, /* weight and bias uniform in +-1 / sqrt(inputs) */
    CLQ_LINEAR_NORMAL,  /* weight normal with deviation 0.01, bias 0 */
} clq_linear_init;

typedef struct clq_builder {
    const clq_network_options *options; /* all defaults filled in */
    clq_graph *graph;
    clq_status status;
    char scope[CLQ_SCOPE_SIZE];
} clq_builder;

void clq_build_scope(clq_builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Channels (last dimension) of a value. */
int clq_build_channels(const clq_builder *b, int x);

/* A value's; of one pixel and channel behind a failure. */
clq_shape clq_build_shape(const clq_builder *b, int x);

int clq_build_input(clq_builder *b, clq_shape shape);
/* A square convolution without bias, "same" padding of (kernel - 1) / 2, groups = 1 or the input's
 * channels (depthwise). */
int clq_build_conv(clq_builder *b, const char *name, int x, int channels, int kernel, int stride,
                   bool depthwise);

/* A square convolution; 0 stands for stride 1 and one group. */
typedef struct clq_conv_spec {
    int channels, kernel, stride, groups;
    bool bias;
    bool unpadded; /* otherwise "same" padding of (kernel - 1) / 2 */
} clq_conv_spec;
int clq_build_convolution(clq_builder *b, const char *name, int x, const clq_conv_spec *conv);

/* A transposed convolution that doubles height and width. */
int clq_build_upsample(clq_builder *b, const char *name, int x, int channels);

int clq_build_batch_norm(clq_builder *b, const char *name, int x); /* eps 1e-5, momentum 0.1 */
int clq_build_norm(clq_builder *b, const char *name, int x, float epsilon, float momentum);
/* Over the channels. */
int clq_build_layer_norm(clq_builder *b, const char *name, int x, float epsilon);
/* A factor for each channel, all `value` at first: the parameter is called `name`. */
int clq_build_scale(clq_builder *b, const char *name, int x, float value);
/* Squeeze and excite: x times gate(fc2(act(fc1(mean of x)))), with `squeezed` channels between. */
int clq_build_squeeze(clq_builder *b, const char *name, int x, int squeezed, const char *act,
                      const char *gate);
int clq_build_concat(clq_builder *b, const char *name, const int *inputs, int count); /* channels */
int clq_build_max_pool(clq_builder *b, const char *name, int x, int kernel, int stride, int pad);
int clq_build_linear(clq_builder *b, const char *name, int x, int features, clq_linear_init init);
int clq_build_dropout(clq_builder *b, const char *name, int x, float probability);
int clq_build_add(clq_builder *b, const char *name, int x, int y);
int clq_build_shortcut_a(clq_builder *b, const char *name, int x, int channels, int stride);
/* An operator with one input, and attributes or none. */
int clq_build_op(clq_builder *b, const char *op, const char *name, int x);
int clq_build_with(clq_builder *b, const char *op, const char *name, const void *attrs, int x);

/* The networks; each leaves the graph's output set. */
void clq_build_resnet(clq_builder *b);       /* resnet18 .. resnet101 */
void clq_build_cifar_resnet(clq_builder *b); /* resnet20 .. resnet56 */
void clq_build_mobilenet_v2(clq_builder *b);
void clq_build_mobilenet_v3(clq_builder *b); /* mobilenet_v3_small, _large */
void clq_build_efficientnet_b0(clq_builder *b);
void clq_build_efficientnet_lite0(clq_builder *b);
void clq_build_squeezenet(clq_builder *b);
void clq_build_shufflenet(clq_builder *b);
void clq_build_regnet(clq_builder *b);
void clq_build_densenet(clq_builder *b);
void clq_build_convnext(clq_builder *b);
void clq_build_unet(clq_builder *b);
void clq_build_mlp(clq_builder *b);

#endif
