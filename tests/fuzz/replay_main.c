/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files instead of libFuzzer: replay FILE|DIRECTORY... Every compiler can build it, and ctest
 * runs it over the corpus, so that what was found once stays found. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

static size_t inputs;

/* The input stands in memory of its own size, so that AddressSanitizer sees a read past its end. */
static bool replay_file(const char *path)
{
	struct stat st;
	FILE *file = fopen(path, "rb");
	if (!file || fstat(fileno(file), &st) != 0) {
		perror(path);
		return false;
	}
	size_t size = (size_t)st.st_size;
	uint8_t *data = malloc(size ? size : 1);
	bool whole = data && fread(data, 1, size, file) == size;
	fclose(file);
	if (whole) {
		printf("%s (%zu bytes)\n", path, size);
		fflush(stdout); /* a crash must not swallow the name */
		(void)LLVMFuzzerTestOneInput(data, size);
		inputs++;
	}
	free(data);
	return whole;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool replay_directory(const char *directory)
{
	struct dirent **entries = NULL;
	int count = scandir(directory, &entries, is_visible, alphasort);
	bool good = count >= 0;
	if (!good)
		perror(directory);
	for (int i = 0; i < count; i++) {
		char path[4096];
		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		good &= replay_file(path);
		free(entries[i]);
	}
	free(entries);
	return good;
}

int main(int argc, char **argv)
{
	bool good = true;
	for (int i = 1; i < argc; i++) {
		struct stat st;
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			good &= replay_directory(argv[i]);
		else
			good &= replay_file(argv[i]);
	}
	printf("%zu inputs\n", inputs);
	return good && inputs ? 0 : 1;
}
