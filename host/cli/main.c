/* clquant COMMAND ...: finds the command and turns its status into the exit code. */
#include <fcntl.h>
#include <locale.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/nearest.h"
#include "cli/cli.h"
#include "cli/origin.h"
#include "cli/signals.h"

static const clq_command *const commands[] = {
    &clq_command_run,     &clq_command_demo,   &clq_command_train,   &clq_command_eval,
    &clq_command_predict, &clq_command_ptq,    &clq_command_qat,     &clq_command_verify,
    &clq_command_analyze, &clq_command_bench,  &clq_command_tune,    &clq_command_info,
    &clq_command_convert, &clq_command_report, &clq_command_devices, &clq_command_cache,
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
    fputs("Usage: clquant COMMAND [OPTION...]\n"
          "int8 quantization of neural networks on any OpenCL device.\n\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    }
    fputs("\n"
          "`clquant help COMMAND` or `clquant COMMAND -h` lists a command's options, with\n"
          "examples; `clquant --version` prints the version.\n\n"
          "Devices: -d PLATFORM:DEVICE, part of a name, cpu or gpu; else CLQUANT_DEVICE;\n"
          "else the first GPU, else the CPU.\n"
          "Exit codes: 0 ok, 1 a gate failed, 3 diverged, 64 usage, 65 bad data, 66 no\n"
          "such input, 69 device, 70 internal, 71 out of memory, 73 cannot create, 74 I/O,\n"
          "128 + signal when interrupted.\n",
          out);
}

/* Lets large arrays go back to the system when they are freed, instead of raising the limit. */
static void limit_heap(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
#endif
}

/* Descriptors that the caller closed lead nowhere, before a file is opened that would get their
 * numbers. Standard output is one that cannot be written to, so that a lost result is an error. */
static void open_missing(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            _exit(CLQ_IO);
        }
    }
}

static int result = CLQ_OK; /* of main; argp ends with one of its own */

/* At every exit, that of --help too. */
static void check_output(void) {
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("clquant: standard output: cannot write\n", stderr);
        _exit(result != CLQ_OK ? result : CLQ_IO);
    }
}

static int run_command(const clq_command *command, int argc, char **argv) {
    const clq_status status = command->run(argc, argv);
    if (status != CLQ_OK && *clq_last_error()) {
        fprintf(stderr, "clquant %s: %s\n", command->name, clq_last_error());
    }
    return status == CLQ_INTERRUPTED ? clq_signals_exit_code() : (int)status;
}

static int no_command(const char *name) {
    const char *names[COMMAND_COUNT];
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i]->name;
    }
    const char *nearest = clq_nearest(name, names, COMMAND_COUNT);
    fprintf(stderr, "clquant: no command \"%s\"%s%s%s `clquant --help` lists them\n", name,
            nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : ";");
    return CLQ_USAGE;
}

static bool is_one_of(const char *word, const char *const names[3]) {
    return strcmp(word, names[0]) == 0 || strcmp(word, names[1]) == 0 ||
           strcmp(word, names[2]) == 0;
}

/* argv[0] is the command's name. */
static int dispatch(int argc, char **argv) {
    static const char *const help[] = {"help", "--help", "-h"};
    static const char *const version[] = {"version", "--version", "-V"};
    static char flag[] = "--help";
    if (is_one_of(argv[0], help) && argc == 1) {
        print_help(stdout);
        return CLQ_OK;
    }
    if (is_one_of(argv[0], help)) { /* help COMMAND ... is COMMAND ... --help */
        memmove(argv, argv + 1, (size_t)(argc - 1) * sizeof *argv);
        argv[argc - 1] = flag;
    }
    if (is_one_of(argv[0], version)) {
        printf("clquant %s (commit %s)\n", clq_version(), clq_commit());
        return CLQ_OK;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[0], commands[i]->name) == 0) {
            return run_command(commands[i], argc, argv);
        }
    }
    return no_command(argv[0]);
}

int main(int argc, char **argv) {
    open_missing();
    atexit(check_output);
    limit_heap();
    setlocale(LC_CTYPE, "");
    clq_set_log(NULL, NULL, CLQ_LOG_INFO);
    clq_log_once(true);
    clq_signals_install();
    clq_json_watch_memory();
    if (argc < 2) {
        print_help(stderr);
        return CLQ_USAGE;
    }
    clq_command_line_keep(argc, argv);
    result = dispatch(argc - 1, argv + 1);
    return result;
}
