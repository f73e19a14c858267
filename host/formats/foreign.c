#include "formats/foreign.h"

#include <ctype.h>
#include <string.h>

#include "base/files.h"

/* ---- ways out ---- */

#define FROM_TORCH_TO_ONNX "export the network with torch.onnx.export"
#define FROM_TORCH_TO_WEIGHTS "save its state_dict with safetensors.torch.save_file"
#define FROM_TENSORFLOW "convert the network to ONNX with tf2onnx"
#define NO_WEIGHTS "give the weights as safetensors"
#define DOWNLOAD "download the file again, by its direct address"

/* ---- kinds that begin with the same bytes always ---- */

/* `bytes` at offset `at`. What to do about it when a model is wanted, and when weights are. */
typedef struct kind {
    size_t at, length;
    const char *bytes, *is, *for_model, *for_weights;
} kind;

#define BYTES(text) sizeof(text) - 1, text
#define UNPACK "unpack it first"

static const kind kinds[] = {
    {0, BYTES("version https://git-lfs.github.com/"), "a Git LFS pointer, not the file itself",
     "fetch the file with `git lfs pull`", "fetch the file with `git lfs pull`"},
    {0, BYTES("\x80\x02\x8a\x0al\xfc\x9c"), "a PyTorch checkpoint (.pt, .pth)", FROM_TORCH_TO_ONNX,
     FROM_TORCH_TO_WEIGHTS},
    {0, BYTES("\x89HDF\r\n\x1a\n"), "an HDF5 file (Keras .h5)", FROM_TENSORFLOW, NO_WEIGHTS},
    {4, BYTES("TFL3"), "a TensorFlow Lite model", "give the network that it was made from, as ONNX",
     NO_WEIGHTS},
    {4, BYTES("ORTM"), "an ORT-format model", "give the .onnx file that it was made from",
     NO_WEIGHTS},
    {0, BYTES("ptrt"), "a TensorRT engine", "give the .onnx file that it was made from",
     NO_WEIGHTS},
    {0, BYTES("7767517"), "an ncnn network", "give the network that it was made from, as ONNX",
     NO_WEIGHTS},
    {0, BYTES("GGUF"), "a GGUF file", "give the network that it was made from, as ONNX",
     NO_WEIGHTS},
    {0, BYTES("\x93NUMPY"), "a NumPy array", "give a model", NO_WEIGHTS},
    {0, BYTES("\x89PNG\r\n"), "a PNG image", "give a model", NO_WEIGHTS},
    {0, BYTES("\xff\xd8\xff"), "a JPEG image", "give a model", NO_WEIGHTS},
    {0, BYTES("\x1f\x8b"), "compressed by gzip", "unpack it with gunzip or tar",
     "unpack it with gunzip or tar"},
    {0,
     BYTES("\xfd"
           "7zXZ"),
     "compressed by xz", UNPACK, UNPACK},
    {0, BYTES("BZh"), "compressed by bzip2", UNPACK, UNPACK},
    {0, BYTES("\x28\xb5\x2f\xfd"), "compressed by zstd", UNPACK, UNPACK},
    {257, BYTES("ustar"), "a tar archive", UNPACK, UNPACK},
    {0, BYTES("%PDF"), "a PDF document", DOWNLOAD, DOWNLOAD},
};

/* ---- kinds that take a closer look ---- */

typedef struct head {
    const unsigned char *bytes;
    size_t size;
} head;

static bool begins(const head *h, size_t at, const char *text, size_t length) {
    return at <= h->size && length <= h->size - at && memcmp(h->bytes + at, text, length) == 0;
}

static bool contains(const head *h, const char *text) {
    for (size_t i = 0; i < h->size; i++) {
        if (begins(h, i, text, strlen(text))) {
            return true;
        }
    }
    return false;
}

static const kind *find_kind(const head *h) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (begins(h, kinds[i].at, kinds[i].bytes, kinds[i].length)) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* A zip archive by its first entry: torch.save pads it by an extra field "FB". */
static const kind *find_zip(const head *h) {
    static const kind torch = {.is = "a PyTorch file (.pt, .pth)",
                               .for_model = FROM_TORCH_TO_ONNX,
                               .for_weights = FROM_TORCH_TO_WEIGHTS};
    static const kind npz = {
        .is = "a NumPy archive (.npz)", .for_model = "give a model", .for_weights = NO_WEIGHTS};
    static const kind keras = {
        .is = "a Keras model (.keras)", .for_model = FROM_TENSORFLOW, .for_weights = NO_WEIGHTS};
    static const kind other = {.is = "a zip archive", .for_model = UNPACK, .for_weights = UNPACK};
    enum { NAME_LENGTH = 26, NAME = 30 };
    if (!begins(h, 0, "PK\3\4", 4) || h->size < NAME) {
        return begins(h, 0, "PK\3\4", 4) ? &other : NULL;
    }
    const size_t length = h->bytes[NAME_LENGTH] | (size_t)h->bytes[NAME_LENGTH + 1] << 8;
    const head name = {h->bytes + NAME, length < h->size - NAME ? length : h->size - NAME};
    if (begins(h, NAME + length, "FB", 2) || contains(&name, "data.pkl")) {
        return &torch;
    }
    return contains(&name, ".npy")                                          ? &npz
           : contains(&name, "metadata.json") && contains(h, "config.json") ? &keras
                                                                            : &other;
}

/* SavedModel's and GraphDef's first fields. Both are protobuf, as ONNX is: a SavedModel begins with
 * version 1 and a message that begins with another, where ONNX has the exporter's name; a GraphDef
 * with its first node, a message that ONNX never begins with. */
static const kind *find_tensorflow(const head *h) {
    static const kind saved = {
        .is = "a TensorFlow SavedModel", .for_model = FROM_TENSORFLOW, .for_weights = NO_WEIGHTS};
    static const kind frozen = {.is = "a TensorFlow graph (frozen .pb)",
                                .for_model = FROM_TENSORFLOW,
                                .for_weights = NO_WEIGHTS};
    if (begins(h, 0, "\x08\x01\x12", 3)) {
        size_t at = 3;
        while (at < h->size && h->bytes[at] & 128) {
            at++;
        }
        return at > 3 && begins(h, at + 1, "\x0a", 1) ? &saved : NULL;
    }
    return begins(h, 0, "\x0a", 1) && begins(h, 2, "\x0a", 1) &&
                   (contains(h, "Placeholder") || contains(h, "Const"))
               ? &frozen
               : NULL;
}

static bool begins_ignoring_case(const head *h, size_t at, const char *text) {
    for (; *text; text++, at++) {
        if (at >= h->size || tolower(h->bytes[at]) != *text) {
            return false;
        }
    }
    return true;
}

/* Text of any kind: no control character but white space among the first bytes. */
static const kind *find_text(const head *h) {
    static const kind html = {
        .is = "a web page (HTML)", .for_model = DOWNLOAD, .for_weights = DOWNLOAD};
    static const kind xml = {
        .is = "an XML text", .for_model = "give the network as ONNX", .for_weights = NO_WEIGHTS};
    static const kind index = {
        .is = "the index of weights in several files",
        .for_model = "give a model",
        .for_weights = "join the files that it names into one, with safetensors.torch.save_file"};
    static const kind json = {
        .is = "a JSON text", .for_model = "give a model", .for_weights = NO_WEIGHTS};
    static const kind text = {
        .is = "a text", .for_model = "give a model", .for_weights = NO_WEIGHTS};
    size_t at = begins(h, 0, "\xef\xbb\xbf", 3) ? 3 : 0;
    for (size_t i = at; i < h->size; i++) {
        if (iscntrl(h->bytes[i]) && !isspace(h->bytes[i])) {
            return NULL;
        }
    }
    while (at < h->size && isspace(h->bytes[at])) {
        at++;
    }
    if (begins_ignoring_case(h, at, "<!doctype html") || begins_ignoring_case(h, at, "<html")) {
        return &html;
    }
    if (begins(h, at, "<?xml", 5)) {
        return &xml;
    }
    if (begins(h, at, "{", 1)) {
        return contains(h, "\"weight_map\"") || contains(h, ".safetensors\"") ? &index : &json;
    }
    return h->size >= 16 ? &text : NULL;
}

/* One of clquant's two where the other was wanted. */
static const kind *find_other_format(clq_expected_file expected, const head *h) {
    static const kind onnx = {.is = "an ONNX model, where weights are expected",
                              .for_weights = NO_WEIGHTS};
    static const kind weights = {
        .is = "safetensors, where a model is expected",
        .for_model = "`clquant convert --network NAME --weights FILE` makes a model of weights"};
    if (expected == CLQ_EXPECTED_ONNX) {
        return begins(h, 8, "{\"", 2) && begins(h, 5, "\0\0\0", 3) ? &weights : NULL;
    }
    /* An IR version and the exporter's name or the opset. */
    return begins(h, 0, "\x08", 1) && h->size > 3 && h->bytes[1] < 32 &&
                   (h->bytes[2] == 0x12 || h->bytes[2] == 0x42 || h->bytes[2] == 0x3a) &&
                   !begins(h, 8, "{", 1)
               ? &onnx
               : NULL;
}

clq_status clq_foreign_check(clq_expected_file expected, const void *bytes, size_t size) {
    const head h = {bytes, size < CLQ_FILE_HEAD ? size : CLQ_FILE_HEAD};
    if (size == 0) {
        return clq_fail(CLQ_BAD_DATA, "is empty; " DOWNLOAD " or write it again");
    }
    const kind *found = find_other_format(expected, &h);
    found = found ? found : find_kind(&h);
    found = found ? found : find_zip(&h);
    found = found ? found : find_tensorflow(&h);
    found = found ? found : find_text(&h);
    return !found ? CLQ_OK
                  : clq_fail(CLQ_BAD_DATA, "is %s; %s", found->is,
                             expected == CLQ_EXPECTED_ONNX ? found->for_model : found->for_weights);
}

/* ---- folders ---- */

clq_status clq_foreign_check_folder(clq_expected_file expected, const char *path) {
    const char *const extension = expected == CLQ_EXPECTED_ONNX ? ".onnx" : ".safetensors";
    char **names = NULL;
    size_t count = 0;
    if (!clq_is_folder(path)) {
        return CLQ_OK;
    }
    clq_status status = clq_folder_list(path, &names, &count);
    const char *first = NULL;
    for (size_t i = 0; status == CLQ_OK && i < count; i++) {
        if (expected == CLQ_EXPECTED_ONNX && strcmp(names[i], "saved_model.pb") == 0) {
            status = clq_fail(CLQ_BAD_DATA, "is a TensorFlow SavedModel; " FROM_TENSORFLOW);
        } else if (!first && clq_path_has_extension(names[i], extension)) {
            first = names[i];
        }
    }
    if (status == CLQ_OK && first) {
        status =
            clq_fail(CLQ_BAD_DATA, "is a folder; give a file in it, such as \"%.200s\"", first);
    } else if (status == CLQ_OK) {
        status = clq_fail(CLQ_BAD_DATA, "is a folder; give a%s file",
                          expected == CLQ_EXPECTED_ONNX ? "n .onnx" : " .safetensors");
    }
    clq_folder_list_free(names, count);
    return status;
}
