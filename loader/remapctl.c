// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* remapctl: the command line. Options, help, and what all commands share; the commands are in ctl_*.c. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "loader/badmap.h"
#include "loader/client.h"
#include "loader/ctl.h"
#include "loader/protocol.h"

enum option_id {
	OPTION_JSON = 256,
	OPTION_NO_COLOR,
	OPTION_SOCKET,
	OPTION_YES,
	OPTION_DRY_RUN,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_FORCE,
	OPTION_MAIN_ID,
	OPTION_MAIN_OFFSET,
	OPTION_SPARE_OFFSET,
	OPTION_STORM_BUDGET,
	OPTION_SALVAGE_MS,
	OPTION_RETRY_MS,
	OPTION_REWRITE_FIRST,
	OPTION_READ_ONLY,
	OPTION_RELEASE,
	OPTION_NO_STAMP,
	OPTION_STATE_DIR,
	OPTION_SINCE,
	OPTION_FOLLOW,
	OPTION_OUTPUT,
	OPTION_SAVE,
	OPTION_ACCEPT_STALE,
	OPTION_OLDER,
	OPTION_FOREIGN,
	OPTION_IMPORT,
	OPTION_BADBLOCKS,
	OPTION_BLOCK_BYTES,
	OPTION_LIVE,
	OPTION_RETRIES,
};

static const struct option options[] = {
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "no-color", no_argument, NULL, OPTION_NO_COLOR },
	{ "socket", required_argument, NULL, OPTION_SOCKET },
	{ "yes", no_argument, NULL, OPTION_YES },
	{ "dry-run", no_argument, NULL, OPTION_DRY_RUN },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "force", no_argument, NULL, OPTION_FORCE },
	{ "main-id", required_argument, NULL, OPTION_MAIN_ID },
	{ "main-offset", required_argument, NULL, OPTION_MAIN_OFFSET },
	{ "spare-offset", required_argument, NULL, OPTION_SPARE_OFFSET },
	{ "storm-budget", required_argument, NULL, OPTION_STORM_BUDGET },
	{ "salvage-ms", required_argument, NULL, OPTION_SALVAGE_MS },
	{ "retry-ms", required_argument, NULL, OPTION_RETRY_MS },
	{ "rewrite-first", no_argument, NULL, OPTION_REWRITE_FIRST },
	{ "read-only", no_argument, NULL, OPTION_READ_ONLY },
	{ "release", no_argument, NULL, OPTION_RELEASE },
	{ "no-stamp", no_argument, NULL, OPTION_NO_STAMP },
	{ "state-dir", required_argument, NULL, OPTION_STATE_DIR },
	{ "since", required_argument, NULL, OPTION_SINCE },
	{ "follow", no_argument, NULL, OPTION_FOLLOW },
	{ "output", required_argument, NULL, OPTION_OUTPUT },
	{ "save", required_argument, NULL, OPTION_SAVE },
	{ "accept-stale", no_argument, NULL, OPTION_ACCEPT_STALE },
	{ "older", no_argument, NULL, OPTION_OLDER },
	{ "foreign", no_argument, NULL, OPTION_FOREIGN },
	{ "import", required_argument, NULL, OPTION_IMPORT },
	{ "badblocks", no_argument, NULL, OPTION_BADBLOCKS },
	{ "block-bytes", required_argument, NULL, OPTION_BLOCK_BYTES },
	{ "live", no_argument, NULL, OPTION_LIVE },
	{ "retries", required_argument, NULL, OPTION_RETRIES },
	{ NULL, 0, NULL, 0 },
};

struct command {
	const char *name;
	const char *args;
	int args_min;
	int args_max;
	int (*run)(struct ctl *ctl, char **args);
	const char *summary;
	const char *help;
	int options[16]; /* beyond the global ones, ended by 0 */
};

static const struct command commands[] = {
	{
		"create", "NAME MAIN SPARE", 3, 3, ctl_create, "make /dev/mapper/NAME of a main and a spare device",
		"The spare is formatted, unless it is this main's already: then the device is assembled with all its\n"
		"mappings. A spare that holds anything recognisable is refused, and what it holds is said.\n\n"
		"  --force               wipe what the spare holds (asks first)\n"
		"  --main-id ID          name of the main device to store and compare (default: its WWN, PARTUUID, serial)\n"
		"  --main-offset N       first sector of MAIN that is shown (default 0)\n"
		"  --spare-offset N      first sector of SPARE that is used, a multiple of 8 (default 0)\n"
		"  --import FILE         move what FILE says is bad: a list of badblocks(8), or a ddrescue mapfile of MAIN\n"
		"  --block-bytes N       what a list of badblocks(8) counts in (default 1024)\n"
		"  --storm-budget N      blocks that one outage of the whole main may move\n"
		"  --salvage-ms N        how long a failed read may be tried again while its caller waits\n"
		"  --retry-ms N          least time between two attempts at an unread sector\n"
		"  --rewrite-first       write back to MAIN what it gave at a second try, and move it only if that fails\n"
		"  --read-only           activate read-only: nothing is written to either device\n"
		"  --no-stamp            leave main as it is: it can be mounted by itself, though that destroys data\n"
		"  --state-dir DIR       where copies of the blocks go that main's stamp takes the place of\n"
		"                        (default " REMAP_STATE_DIR ")\n",
		{ OPTION_FORCE, OPTION_MAIN_ID, OPTION_MAIN_OFFSET, OPTION_SPARE_OFFSET, OPTION_STORM_BUDGET,
		  OPTION_SALVAGE_MS, OPTION_RETRY_MS, OPTION_REWRITE_FIRST, OPTION_READ_ONLY,
		  OPTION_NO_STAMP, OPTION_STATE_DIR, OPTION_IMPORT, OPTION_BLOCK_BYTES },
	},
	{
		"assemble", "NAME MAIN SPARE", 3, 3, ctl_assemble, "make the device again, with all that was moved",
		"Like create, but formats nothing. What create left unstamped is stamped.\n\n"
		"  --force               even if main was written by itself since it was stamped\n"
		"  --main-id ID, --main-offset N, --spare-offset N, --storm-budget N, --salvage-ms N, --retry-ms N,\n"
		"  --rewrite-first, --read-only, --no-stamp, --state-dir DIR\n"
		"                        as for create\n",
		{ OPTION_FORCE, OPTION_MAIN_ID, OPTION_MAIN_OFFSET, OPTION_SPARE_OFFSET, OPTION_STORM_BUDGET,
		  OPTION_SALVAGE_MS, OPTION_RETRY_MS, OPTION_REWRITE_FIRST, OPTION_READ_ONLY,
		  OPTION_NO_STAMP, OPTION_STATE_DIR },
	},
	{
		"remove", "NAME", 1, 1, ctl_remove, "take the device away; its mappings stay on the spare",
		"Refused while the device is in use. Main stays stamped.\n\n"
		"  --release             first copy every moved block back to main, take its stamp away and verify that;\n"
		"                        refused if a block can't go back\n"
		"  --state-dir DIR       as for create\n",
		{ OPTION_RELEASE, OPTION_STATE_DIR },
	},
	{
		"unstamp", "MAIN", 1, 1, ctl_unstamp, "give up a lost spare: put back what main's stamp replaced",
		"The blocks become what they were when main was stamped; all else that was moved is lost. Asks first.\n\n"
		"  --main-offset N       as for create\n"
		"  --state-dir DIR       where the copies are\n",
		{ OPTION_MAIN_OFFSET, OPTION_STATE_DIR },
	},
	{
		"status", "[NAME]", 0, 1, ctl_status, "health, spare, what was moved and lost",
		"From remapd where it runs, else from device-mapper alone. MOVED counts blocks, SUSPECT extents, LOST\n"
		"sectors.\n",
		{ 0 },
	},
	{
		"list", "NAME", 1, 1, ctl_list, "every run of moved blocks", "One run a line, in sectors.\n", { 0 },
	},
	{
		"remap", "NAME SECTOR COUNT", 3, 3, ctl_remap, "move the blocks of a range to the spare",
		"SECTOR and COUNT are sectors of 512 bytes of the remap device. Ctrl-C stops between two chunks; what was\n"
		"moved stays moved.\n",
		{ 0 },
	},
	{
		"release", "NAME SECTOR COUNT", 3, 3, ctl_release, "move the blocks of a range back to main",
		"SECTOR and COUNT are sectors of 512 bytes of the remap device. Blocks with unread or lost sectors are\n"
		"refused and stay, and so do those where main is stamped.\n\n"
		"  --state-dir DIR       as for create\n",
		{ OPTION_STATE_DIR },
	},
	{
		"explain", "NAME EXTENT", 2, 2, ctl_explain, "why an extent is, or is not, to be moved",
		"Asks remapd.\n", { 0 },
	},
	{
		"events", "[NAME]", 0, 1, ctl_events, "what remapd saw and did",
		"  --since N             only events after number N\n"
		"  --follow              go on until interrupted\n",
		{ OPTION_SINCE, OPTION_FOLLOW },
	},
	{
		"policy", "check FILE", 2, 2, ctl_policy, "check a policy file without loading it",
		"Prints the policy with every default filled in, or the first error with its line.\n", { 0 },
	},
	{
		"check", "SPARE", 1, 1, ctl_check, "say what is wrong with a spare",
		"Reads its metadata, judges it as the module would, and says what would be lost. Status 0: clean; 1: damaged,\n"
		"nothing is lost; 2: something is lost, or may be. SPARE may be an image of one.\n\n"
		"  --spare-offset N      first sector of SPARE that is used (default 0)\n",
		{ OPTION_SPARE_OFFSET },
	},
	{
		"dump", "SPARE", 1, 1, ctl_dump, "print or save all metadata of a spare",
		"With --json what remapctl restore takes, else for people.\n\n"
		"  --output FILE         write it to FILE, which must not exist\n"
		"  --spare-offset N      first sector of SPARE that is used (default 0)\n",
		{ OPTION_OUTPUT, OPTION_SPARE_OFFSET },
	},
	{
		"repair", "SPARE", 1, 1, ctl_repair, "mend the metadata of a spare that no device uses",
		"Writes nothing that it can't know: what is gone comes from a dump (remapctl restore), or is given up.\n"
		"Shows what it will do and asks first. Status: that of check afterwards.\n\n"
		"  --save FILE           save all metadata to FILE, which must not exist, before anything is written\n"
		"  --accept-stale        give up mappings that are gone: their blocks read as they were before they moved,\n"
		"                        and the device can only be activated read-only from then on\n"
		"  --spare-offset N      first sector of SPARE that is used (default 0)\n",
		{ OPTION_SAVE, OPTION_ACCEPT_STALE, OPTION_SPARE_OFFSET },
	},
	{
		"restore", "SPARE DUMP", 2, 2, ctl_restore, "bring back from a dump what a spare has lost",
		"Takes from the dump what the spare has no good copy of, or an older one. Shows what it will do and asks\n"
		"first. Status: that of check afterwards.\n\n"
		"  --save FILE           save all metadata to FILE, which must not exist, before anything is written\n"
		"  --older               also from a dump that is older than the spare: the map is marked as incomplete\n"
		"  --foreign             also onto a device that has no trace of the dump's spare, or is another\n"
		"  --spare-offset N      first sector of SPARE that is used (default 0)\n",
		{ OPTION_SAVE, OPTION_OLDER, OPTION_FOREIGN, OPTION_SPARE_OFFSET },
	},
	{
		"grow", "NAME|SPARE", 1, 1, ctl_grow, "use what a main or a spare device has gained",
		"NAME: the device gets the size that its main device has now, live. SPARE is a path: a spare that no device\n"
		"uses gets the slots that there is room for on its grown device.\n\n"
		"  --spare-offset N      first sector of SPARE that is used (default 0)\n",
		{ OPTION_SPARE_OFFSET },
	},
	{
		"export", "NAME|SPARE", 1, 1, ctl_export, "what was moved, for ddrescue or badblocks",
		"Prints a ddrescue mapfile of the main device: what was moved is a bad sector, the rest was not tried. SPARE is\n"
		"a path: a spare that no device uses.\n\n"
		"  --badblocks           print a list of blocks as badblocks(8) does\n"
		"  --block-bytes N       what the list counts in (default 1024)\n"
		"  --output FILE         write to FILE, which must not exist\n"
		"  --spare-offset N      first sector of SPARE that is used (default 0)\n",
		{ OPTION_BADBLOCKS, OPTION_BLOCK_BYTES, OPTION_OUTPUT, OPTION_SPARE_OFFSET },
	},
	{
		"evacuate", "NAME TARGET", 2, 2, ctl_evacuate, "copy all that the device shows to a new disk",
		"With GNU ddrescue: first what nothing speaks against, then what is suspected, then what failed again. Ended or\n"
		"cut off, the same command goes on. A target that holds anything recognisable is refused, and so is a device\n"
		"that is in use, but for one that is read-only, or whose file system is. Status 74: something can't be read.\n\n"
		"  --force               wipe what the target holds (asks first)\n"
		"  --live                even if the device is in use: the copy may be a mixture of older and newer data\n"
		"  --retries N           how often what can't be read is tried again at the end (default 3)\n"
		"  --state-dir DIR       where the mapfile is kept (default " REMAP_STATE_DIR ")\n",
		{ OPTION_FORCE, OPTION_LIVE, OPTION_RETRIES, OPTION_STATE_DIR },
	},
};

volatile sig_atomic_t ctl_stop_signal;

static void stop_seen(int signal_nr)
{
	ctl_stop_signal = signal_nr;
}

void ctl_catch_stop(void)
{
	/* No SA_RESTART: a message in the kernel is interrupted and answers with what it did. */
	struct sigaction action = { .sa_handler = stop_seen };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int ctl_fail(int status, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("remapctl: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return status;
}

int ctl_fail_dm(const struct dmctl_error *error)
{
	int status;

	switch (error->err) {
	case EPERM:
	case EACCES:
		status = EX_NOPERM;
		break;
	case ENXIO:
	case EMEDIUMTYPE:
		status = EX_NOINPUT;
		break;
	case EINVAL:
		status = EX_DATAERR;
		break;
	case EIO:
		status = EX_IOERR;
		break;
	case EPROTO:
		status = EX_SOFTWARE;
		break;
	case ENOMEM:
		status = EX_OSERR;
		break;
	default:
		status = EX_UNAVAILABLE;
	}
	return ctl_fail(status, "%s", error->text);
}

int ctl_fail_client(int err, const char *text)
{
	switch (err) {
	case -EACCES:
		return ctl_fail(EX_NOPERM, "%s", text);
	case -EREMOTE:
		return ctl_fail(EX_DATAERR, "%s", text);
	case -EPROTO:
		return ctl_fail(EX_SOFTWARE, "%s", text);
	default:
		return ctl_fail(EX_UNAVAILABLE, "%s", text);
	}
}

json_t *ctl_json_new(void)
{
	return json_pack("{s:i}", "version", REMAPCTL_JSON_VERSION);
}

int ctl_print_json(json_t *root)
{
	bool written = root && !json_dumpf(root, stdout, JSON_INDENT(2)) && fputc('\n', stdout) != EOF;

	json_decref(root);
	return written ? EX_OK : ctl_fail(EX_IOERR, "can't write JSON to stdout");
}

int ctl_confirm(const struct ctl *ctl, const char *question)
{
	char answer[16];

	if (ctl->yes)
		return EX_OK;
	if (!isatty(STDIN_FILENO))
		return ctl_fail(EX_USAGE, "this needs a confirmation and stdin is no terminal: add --yes");
	fprintf(stderr, "%s Type yes to go on: ", question);
	if (!fgets(answer, sizeof(answer), stdin) || strcmp(answer, "yes\n"))
		return ctl_fail(EX_UNAVAILABLE, "nothing was done");
	return EX_OK;
}

int ctl_parse_number(const char *what, const char *word, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(word, &end, 10);
	if (errno || end == word || *end || *word < '0' || *word > '9')
		return ctl_fail(EX_USAGE, "%s must be a decimal number, not \"%s\"", what, word);
	return EX_OK;
}

static void print_help(void)
{
	size_t i;

	fputs("Usage: remapctl [OPTION...] COMMAND [ARGUMENT...]\n"
	      "Sets up and asks dm-remap devices, which move failing blocks of one disk to another.\n\n"
	      "Commands (remapctl COMMAND --help says more):\n",
	      stdout);
	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		char usage[64];

		snprintf(usage, sizeof(usage), "%s %s", commands[i].name, commands[i].args);
		printf("  %-26s  %s\n", usage, commands[i].summary);
	}
	fputs("\nOptions:\n"
	      "  --json                print data as JSON, with a version\n"
	      "  --no-color            no colours (so does the environment's NO_COLOR)\n"
	      "  --socket PATH         remapd's socket (default " REMAP_SOCKET_PATH ")\n"
	      "  --yes                 ask nothing, the answer is yes\n"
	      "  --dry-run             check everything, say what would be done, change nothing\n"
	      "  --help, --version\n",
	      stdout);
}

static void print_command_help(const struct command *command)
{
	printf("Usage: remapctl [OPTION...] %s %s\n%c%s.\n\n%s", command->name, command->args,
	       command->summary[0] - 'a' + 'A', command->summary + 1, command->help);
}

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static const char *option_name(int id)
{
	const struct option *option;

	for (option = options; option->name; option++)
		if (option->val == id)
			return option->name;
	return "?";
}

static bool takes_option(const struct command *command, int id)
{
	const int *own;

	if (id < OPTION_FORCE)
		return true;
	for (own = command->options; *own; own++)
		if (*own == id)
			return true;
	return false;
}

static int set_number(int id, const char *word, uint64_t max, uint64_t *number)
{
	int status = ctl_parse_number(option_name(id), word, number);

	if (!status && *number > max)
		return ctl_fail(EX_USAGE, "%s must be at most %llu", option_name(id), (unsigned long long)max);
	return status;
}

static int set_option(struct ctl *ctl, int id, char *value)
{
	uint64_t number = 0;
	int status = EX_OK;

	switch (id) {
	case OPTION_JSON:
		ctl->json = true;
		break;
	case OPTION_NO_COLOR:
		ctl->color = false;
		break;
	case OPTION_SOCKET:
		ctl->socket_path = value;
		break;
	case OPTION_YES:
		ctl->yes = true;
		break;
	case OPTION_DRY_RUN:
		ctl->dry_run = true;
		break;
	case OPTION_FORCE:
		ctl->force = true;
		break;
	case OPTION_MAIN_ID:
		ctl->main_id = value;
		break;
	case OPTION_READ_ONLY:
		ctl->read_only = true;
		break;
	case OPTION_RELEASE:
		ctl->release_first = true;
		break;
	case OPTION_NO_STAMP:
		ctl->no_stamp = true;
		break;
	case OPTION_STATE_DIR:
		ctl->state_dir = value;
		break;
	case OPTION_FOLLOW:
		ctl->follow = true;
		break;
	case OPTION_OUTPUT:
		ctl->output = value;
		break;
	case OPTION_SAVE:
		ctl->save = value;
		break;
	case OPTION_ACCEPT_STALE:
		ctl->accept_stale = true;
		break;
	case OPTION_OLDER:
		ctl->older = true;
		break;
	case OPTION_FOREIGN:
		ctl->foreign = true;
		break;
	case OPTION_IMPORT:
		ctl->import = value;
		break;
	case OPTION_BADBLOCKS:
		ctl->badblocks = true;
		break;
	case OPTION_BLOCK_BYTES:
		status = set_number(id, value, 1 << 20, &number);
		if (!status && (!number || number % 512))
			return ctl_fail(EX_USAGE, "block-bytes must be a multiple of 512");
		ctl->block_bytes = number;
		return status;
	case OPTION_MAIN_OFFSET:
		return set_number(id, value, INT64_MAX / 512, &ctl->main_offset_sectors);
	case OPTION_SPARE_OFFSET:
		status = set_number(id, value, INT64_MAX / 512, &ctl->spare_offset_sectors);
		if (!status && ctl->spare_offset_sectors % 8)
			return ctl_fail(EX_USAGE, "spare-offset must be a multiple of 8 sectors");
		return status;
	case OPTION_SINCE:
		return set_number(id, value, INT64_MAX, &ctl->since);
	case OPTION_STORM_BUDGET:
		status = set_number(id, value, INT32_MAX, &number);
		ctl->storm_budget_blocks = number;
		break;
	case OPTION_SALVAGE_MS:
		status = set_number(id, value, INT32_MAX, &number);
		ctl->salvage_ms = number;
		break;
	case OPTION_RETRY_MS:
		status = set_number(id, value, INT32_MAX, &number);
		ctl->retry_ms = number;
		break;
	case OPTION_REWRITE_FIRST:
		ctl->rewrite_first = true;
		break;
	case OPTION_LIVE:
		ctl->live = true;
		break;
	case OPTION_RETRIES:
		status = set_number(id, value, 1000, &number);
		ctl->retries = number;
		break;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct ctl ctl = { .state_dir = REMAP_STATE_DIR, .storm_budget_blocks = -1, .salvage_ms = -1, .retry_ms = -1,
			   .block_bytes = BADMAP_BLOCK_BYTES, .retries = CTL_RETRIES };
	const char *no_color = getenv("NO_COLOR");
	const struct command *command;
	bool help = false;
	int seen[sizeof(options) / sizeof(*options) * 4];
	size_t seen_count = 0, i;
	int id, args, status;

	ctl.color = isatty(STDOUT_FILENO) && !(no_color && *no_color);
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (id == ':')
			return ctl_fail(EX_USAGE, "option %s needs a value (see remapctl --help)", argv[optind - 1]);
		if (id == '?')
			return ctl_fail(EX_USAGE, "unknown option %s (see remapctl --help)", argv[optind - 1]);
		if (id == OPTION_VERSION) {
			puts("remapctl " REMAP_PROGRAM_VERSION);
			return EX_OK;
		}
		if (id == OPTION_HELP)
			help = true;
		status = set_option(&ctl, id, optarg);
		if (status)
			return status;
		if (seen_count < sizeof(seen) / sizeof(*seen))
			seen[seen_count++] = id;
	}
	ctl.socket_path = client_socket_path(ctl.socket_path);
	if (optind == argc || !strcmp(argv[optind], "help") || !strcmp(argv[optind], "version")) {
		if (optind == argc && !help)
			return ctl_fail(EX_USAGE, "which command? (see remapctl --help)");
		if (!help && !strcmp(argv[optind], "version")) {
			puts("remapctl " REMAP_PROGRAM_VERSION);
			return EX_OK;
		}
		command = optind + 1 < argc ? find_command(argv[optind + 1]) : NULL;
		if (command)
			print_command_help(command);
		else
			print_help();
		return EX_OK;
	}
	command = find_command(argv[optind]);
	if (!command)
		return ctl_fail(EX_USAGE, "unknown command \"%s\" (see remapctl --help)", argv[optind]);
	if (help) {
		print_command_help(command);
		return EX_OK;
	}
	for (i = 0; i < seen_count; i++)
		if (!takes_option(command, seen[i]))
			return ctl_fail(EX_USAGE, "%s takes no --%s (see remapctl %s --help)", command->name,
					option_name(seen[i]), command->name);
	args = argc - optind - 1;
	if (args < command->args_min || args > command->args_max)
		return ctl_fail(EX_USAGE, "usage: remapctl %s %s", command->name, command->args);
	dmctl_init();
	status = command->run(&ctl, argv + optind + 1);
	dmctl_exit();
	if (fflush(stdout) && !status)
		status = ctl_fail(EX_IOERR, "can't write to stdout");
	return status;
}
