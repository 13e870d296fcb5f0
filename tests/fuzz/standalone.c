/* SPDX-License-Identifier: Apache-2.0
 * Runs a fuzz target over the files named on the command line, and over the files in the folders named there. */
#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX = 1 << 20 };

static void close_file(FILE **f)
{
    if (*f != NULL)
        (void)fclose(*f);
}

static void free_bytes(uint8_t **p)
{
    free(*p);
}

static int run_file(const char *path)
{
    CLEANUP(close_file) FILE *f = fopen(path, "rb");
    CLEANUP(free_bytes) uint8_t *data = malloc(FILE_MAX);
    if (f == NULL || data == NULL) {
        (void)fprintf(stderr, "cannot read %s\n", path);
        return -1;
    }
    size_t n = fread(data, 1, FILE_MAX, f);
    /* A block of exactly the input's size lets a sanitizer see a read behind its end. */
    CLEANUP(free_bytes) uint8_t *exact = malloc(n > 0 ? n : 1);
    if (exact == NULL)
        return -1;
    memcpy(exact, data, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    return 1;
}

static int is_input(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int run_folder(const char *path)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, is_input, alphasort);
    int files = n;
    for (int i = 0; i < n; i++) {
        char file[PATH_MAX];
        (void)snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (files >= 0 && run_file(file) < 0)
            files = -1;
        free(entries[i]);
    }
    free(entries);
    return files;
}

int main(int argc, char **argv)
{
    int files = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) != 0) {
            (void)fprintf(stderr, "no such file or folder: %s\n", argv[i]);
            return 1;
        }
        int n = S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
        if (n < 0)
            return 1;
        files += n;
    }
    (void)printf("%d inputs\n", files);
    return files > 0 ? 0 : 1;
}
