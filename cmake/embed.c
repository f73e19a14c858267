/* Build tool: writes the kernels as C byte arrays.
 *
 *   embed KERNELS_DIR OUTPUT.c
 *
 * Reads KERNELS_DIR/registry.def, pastes `#include "x"` (looked up in KERNELS_DIR/include) into
 * each .cl it names, behind include/builtins.h, with #line directives so that compiler messages
 * name the real file, and writes the sources and the registry table that host/device declares in
 * kernel_registry.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KERNELS = 512, MAX_DEPTH = 8, PATH_SIZE = 512, LINE_SIZE = 4096 };

static const char *kernels_dir;
static char seen[64][PATH_SIZE]; /* headers already pasted into the current program */
static int seen_count;

static void die(const char *what, const char *name) {
    fprintf(stderr, "embed: %s: %s\n", what, name);
    exit(1);
}

static void put_text(FILE *out, const char *text) {
    for (const char *c = text; *c; c++) {
        fprintf(out, "%d,", (unsigned char)*c);
    }
    fputc('\n', out);
}

static void paste(FILE *out, const char *relative, int depth) {
    char path[PATH_SIZE * 2], line[LINE_SIZE], text[LINE_SIZE + PATH_SIZE];
    int number = 0;
    if (depth > MAX_DEPTH) {
        die("includes nest too deeply", relative);
    }
    snprintf(path, sizeof path, "%s/%s", kernels_dir, relative);
    FILE *in = fopen(path, "r");
    if (!in) {
        die("cannot open", path);
    }
    snprintf(text, sizeof text, "#line 1 \"%s\"\n", relative);
    put_text(out, text);
    while (fgets(line, sizeof line, in)) {
        char name[256];
        number++;
        if (sscanf(line, " #include \"%255[^\"]\"", name) != 1) {
            put_text(out, line);
            continue;
        }
        char header[PATH_SIZE];
        snprintf(header, sizeof header, "include/%s", name);
        int known = 0;
        for (int i = 0; i < seen_count; i++) {
            known |= strcmp(seen[i], header) == 0;
        }
        if (!known) {
            strcpy(seen[seen_count++], header);
            paste(out, header, depth + 1);
        }
        snprintf(text, sizeof text, "#line %d \"%s\"\n", number + 1, relative);
        put_text(out, text);
    }
    fclose(in);
}

int main(int argc, char **argv) {
    static char names[MAX_KERNELS][128], files[MAX_KERNELS][PATH_SIZE],
        programs[MAX_KERNELS][PATH_SIZE];
    int program_of[MAX_KERNELS], kernel_count = 0, program_count = 0;
    char path[PATH_SIZE], line[LINE_SIZE];
    if (argc != 3) {
        die("usage", "embed KERNELS_DIR OUTPUT.c");
    }
    kernels_dir = argv[1];
    snprintf(path, sizeof path, "%s/registry.def", kernels_dir);
    FILE *registry = fopen(path, "r");
    if (!registry) {
        die("cannot open", path);
    }
    while (fgets(line, sizeof line, registry)) {
        if (sscanf(line, "CLQ_KERNEL(%127[^,], \"%511[^\"]\")", names[kernel_count],
                   files[kernel_count]) != 2) {
            continue;
        }
        int p = 0;
        while (p < program_count && strcmp(programs[p], files[kernel_count]) != 0) {
            p++;
        }
        if (p == program_count) {
            strcpy(programs[program_count++], files[kernel_count]);
        }
        program_of[kernel_count++] = p;
        if (kernel_count == MAX_KERNELS) {
            die("too many kernels", path);
        }
    }
    fclose(registry);

    FILE *out = fopen(argv[2], "w");
    if (!out) {
        die("cannot create", argv[2]);
    }
    fputs("#include \"device/kernel_registry.h\"\n", out);
    for (int p = 0; p < program_count; p++) {
        fprintf(out, "static const char source_%d[] = {\n", p);
        strcpy(seen[0], "include/builtins.h");
        seen_count = 1;
        paste(out, seen[0], 0);
        paste(out, programs[p], 0);
        fputs("0};\n", out);
    }
    fputs("const clq_kernel_entry clq_kernel_registry[] = {\n", out);
    for (int k = 0; k < kernel_count; k++) {
        fprintf(out, "    {\"%s\", \"%s\", source_%d},\n", names[k], files[k], program_of[k]);
    }
    fprintf(out, "    {0, 0, 0}};\nconst unsigned long clq_kernel_registry_count = %d;\n",
            kernel_count);
    if (fclose(out) != 0) {
        die("cannot write", argv[2]);
    }
    return 0;
}
