/* Files that save work between runs: built programs, what probing found, what self-tests found.
 * Losing any of them costs only time.
 *
 * Where    $CLQUANT_CACHE_DIR, else $XDG_CACHE_HOME/clquant, else $HOME/.cache/clquant; nowhere
 * when CLQUANT_CACHE=off or none of these is set. Any file may be deleted at any time. Name
 * KIND-KEY.bin, the key as 32 hexadecimal digits. Key      128 bits hashed from everything that the
 * content depends on: see the callers. A changed kernel, option, driver or processor has another
 * key; stale files are never read. Format   all numbers little endian 0   8  "clqcache" 8   8
 * format version, 1 16  16  key, low half first 32   8  payload size 40   8  XXH3 of the payload 48
 * payload Sharing  any number of processes may use one folder: a file appears complete (written
 * beside and renamed) and those with one name have one content. One that does not read back whole
 * (cut, overwritten, of another version) is as good as missing and is replaced. */
#ifndef CLQ_DEVICE_CACHE_FILE_H
#define CLQ_DEVICE_CACHE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct clq_cache_key {
    uint64_t low, high;
} clq_cache_key;

/* Starts and extends a key; every part counts with its length. */
clq_cache_key clq_cache_key_start(void);
void clq_cache_key_add(clq_cache_key *key, const void *part, size_t size);
void clq_cache_key_add_text(clq_cache_key *key, const char *text);

/* The payload (clq_free *data), or false. */
bool clq_cache_load(const char *kind, clq_cache_key key, void **data, size_t *size);
/* Failing to store is no error: it is logged, as a warning once where the folder cannot be written,
 * and forgotten. */
void clq_cache_store(const char *kind, clq_cache_key key, const void *data, size_t size);

/* A mark: an empty file of a kind that is there while this process does something, and stays when
 * it crashes. An ending by a signal that the command handles removes it. Made without waiting for
 * the disk, so that it outlives the process but perhaps not the machine. */
typedef struct clq_cache_mark {
    char *path;
    int fd; /* locked, which tells it from the mark of a process that died */
} clq_cache_mark;
typedef enum clq_mark_state {
    CLQ_MARK_MADE,
    CLQ_MARK_HELD, /* by another process that is alive */
    CLQ_MARK_LEFT, /* by one that died; mark->path names it, clq_free it */
    CLQ_MARK_NONE, /* it cannot be made */
} clq_mark_state;
clq_mark_state clq_cache_mark_begin(const char *kind, clq_cache_key key, clq_cache_mark *mark);
/* Removes the mark, or leaves it for later runs to find. Nothing where none was made. */
void clq_cache_mark_end(clq_cache_mark *mark, bool leave);

/* Removes what is stored under the key, if anything is. */
void clq_cache_drop(const char *kind, clq_cache_key key);

/* The folder (clq_free it); NULL: there is none to use, or memory ran out. */
char *clq_cache_folder(void);
/* Whether there is a folder to use. */
bool clq_cache_enabled(void);

#endif
