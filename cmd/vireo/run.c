/* SPDX-License-Identifier: MIT */
/*
 * vireo run: boots a Linux guest on our devices. Here is the order of
 * things: choose a hypervisor, prepare its files, start the back ends, start
 * the guest, wait, clean up, judge. Each thing itself is done elsewhere.
 */
#include "run.h"
#include "cmd.h"
#include "devices.h"
#include "image.h"
#include "initrd.h"
#include "report.h"
#include "session.h"
#include "term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EXIT_RIGHT = 0,
	EXIT_WRONG = 1,
	EXIT_ESCAPED = 1,
	EXIT_SIGNALLED = 128,
	EXIT_LATE = 124,	/* as timeout(1) has it */
};

static int find_guest(struct run *r)
{
	if (!r->opt.kernel)
		return kernel_get(r->vmm->guest, &r->kernel);
	if (path_fmt(r->kernel.image, "%s", r->opt.kernel))
		return -ENAMETOOLONG;
	kernel_modules_of(&r->kernel);
	return 0;
}

/*
 * KVM where it is real, then what costs the least. One whose guest's kernel
 * cannot be had (no network, say) is passed over too.
 */
static int choose_vmm(struct run *r)
{
	static const struct vmm *const all[] = {
		[VMM_KVM] = &vmm_kvm, [VMM_QEMU_KVM] = &vmm_qemu_kvm,
		[VMM_UML] = &vmm_uml, [VMM_QEMU] = &vmm_qemu,
	};
	enum vmm_choice choice = r->opt.vmm;
	char why[256] = "";
	unsigned int mib = r->opt.mem_mib;

	if (choice != VMM_AUTO) {
		r->vmm = all[choice];
		if (r->vmm->usable(mib, why, sizeof(why)))
			return find_guest(r);
		complain("cannot use %s: %s", r->vmm->name, why);
		return -ENODEV;
	}
	for (choice = VMM_KVM; choice <= VMM_QEMU; choice++) {
		r->vmm = all[choice];
		if (!r->vmm->usable(mib, why, sizeof(why))) {
			if (r->opt.verbose)
				complain("not %s: %s", r->vmm->name, why);
			continue;
		}
		if (!find_guest(r))
			return 0;
	}
	complain("no hypervisor works here; `vireo doctor` says why");
	return -ENODEV;
}

/* A folder that only the user can enter, with all that a run makes. */
static int make_dir(struct run *r)
{
	const char *tmp = getenv("TMPDIR");
	int err;

	if (!tmp || *tmp != '/')
		tmp = "/tmp";
	err = path_fmt(r->dir, "%s/vireo-run.XXXXXX", tmp);
	if (err)
		return err;
	if (!mkdtemp(r->dir)) {
		err = -errno;
		complain("cannot make a folder in %s: %s", tmp,
			 strerror(-err));
		r->dir[0] = '\0';
		return err;
	}
	/* User Mode Linux would put its memory there instead of /dev/shm. */
	unsetenv("TMPDIR");
	unsetenv("TMP");
	unsetenv("TEMP");
	return 0;
}

static int make_token(struct run *r)
{
	unsigned char b[8];

	if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
		return -EIO;
	for (size_t i = 0; i < sizeof(b); i++)
		snprintf(r->token + 2 * i, 3, "%02x", b[i]);
	return 0;
}

/* How a card on this wire gets its address: see guest/init. */
static const char *addresses(const char *net)
{
	if (!strcmp(net, "user") || !strncmp(net, "stream=", 7))
		return "dhcp";
	return strncmp(net, "tap=", 4) ? "local" : "try";
}

static int make_cmdline(struct run *r)
{
	static const char *const modes[] = {
		[MODE_SHELL] = "shell", [MODE_SCRIPT] = "script",
		[MODE_COMMAND] = "command", [MODE_CHECK] = "check",
		[MODE_FOREIGN] = "foreign",
	};
	const char *sits_at = r->serial ? r->vmm->serial : "hvc0";
	unsigned int rows, cols;
	int n;

	term_size(&rows, &cols);

	/*
	 * A panic stops the guest where it is: we see its words and end it.
	 * The log goes to the serial port, the user sits at the console.
	 */
	n = snprintf(r->cmdline, sizeof(r->cmdline),
		     "panic=0 quiet %sconsole=%s%s%s vireo.mode=%s "
		     "vireo.console=%s vireo.size=%ux%u "
		     "vireo.token=%s%s%s%s%s",
		     r->vmm->append, r->vmm->serial,
		     r->opt.mode == MODE_FOREIGN ? " console=" : "",
		     r->opt.mode == MODE_FOREIGN ? sits_at : "",
		     modes[r->opt.mode], sits_at, rows, cols, r->token,
		     r->opt.net ? " vireo.net=" : "",
		     r->opt.net ? addresses(r->opt.net) : "",
		     r->opt.append ? " " : "",
		     r->opt.append ? r->opt.append : "");
	if (n < (int)sizeof(r->cmdline))
		return 0;
	complain("--append is too long");
	return -E2BIG;
}

/* Everything that needs no child to be running. */
static int prepare(struct run *r)
{
	int err;

	r->serial = !r->vmm->has_console || r->opt.console == CONSOLE_SERIAL;
	if (r->serial && r->opt.console != CONSOLE_SERIAL &&
	    r->opt.console != CONSOLE_STDIO) {
		complain("%s cannot use our console: leave out --console",
			 r->vmm->name);
		return -EINVAL;
	}
	if (r->opt.cpus > 1 && r->vmm == &vmm_uml)
		complain("User Mode Linux has one processor only");
	err = make_cmdline(r);
	if (!err)
		err = devices_plan(r);
	if (!err && !r->opt.n_disks)
		err = path_fmt(r->image, "%s/disk.img", r->dir);
	if (!err && r->image[0]) {
		r->default_disk.path = r->image;
		err = image_make(r->image, r->dir);
	}
	if (err)
		return err;
	if (r->opt.initrd)
		return path_fmt(r->initrd, "%s", r->opt.initrd);
	err = path_fmt(r->initrd, "%s/initrd", r->dir);
	return err ? err : initrd_make(r);
}

/* A pipe whose end for us does not block. */
static int make_log(int *ours, int *theirs)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	*ours = p[0];
	*theirs = p[1];
	return 0;
}

static int start_guest(struct run *r, struct session *s, int theirs)
{
	struct proc_io io = { .in = -1, .keep = -1, .whole_group = true };
	struct args a = { 0 };
	int log = -1;
	int err = make_log(&s->log, &log);

	if (err)
		return err;
	io.out = io.err = log;
	if (theirs >= 0 && (r->serial || r->vmm->has_devices))
		io.in = io.out = theirs;
	io.tty = theirs >= 0 && !r->serial && r->vmm->has_devices;
	/* Where to find the pty is what it prints. */
	if (r->vmm->has_devices && r->opt.console == CONSOLE_PTY)
		io.out = 2;
	r->vmm->command(r, &a);
	if (r->opt.verbose)
		args_print(&a);
	err = proc_start(&r->guest, &a, &io);
	close(log);
	if (err)
		complain("cannot start %s: %s", r->vmm->name, strerror(-err));
	else
		janitor_tell(&r->janitor, r->guest.pid);
	return err;
}

/*
 * Our console device gets a terminal, for it passes the size on. A serial
 * port gets a socket: on a terminal User Mode Linux starts a helper in a
 * session of its own, which outlives it.
 */
static int make_line(const struct run *r, int *ours, int *theirs)
{
	int sv[2], err;

	if (r->serial) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
			return -errno;
		fcntl(sv[0], F_SETFL, O_NONBLOCK);
		*ours = sv[0];
		*theirs = sv[1];
		return 0;
	}
	if (r->opt.console != CONSOLE_STDIO)
		return 0;
	err = term_pair(ours, theirs);
	if (err)
		complain("cannot make a pseudo-terminal: %s; is /dev/pts "
			 "mounted?", strerror(-err));
	return err;
}

static int start_all(struct run *r, struct session *s)
{
	int theirs = -1, log = -1;
	int err = make_line(r, &s->console, &theirs);

	if (!err)
		err = make_log(&s->dev_log, &log);
	if (!err)
		err = devices_start(r, theirs, log);
	if (!err)
		err = start_guest(r, s, theirs);
	if (theirs >= 0)
		close(theirs);
	if (log >= 0)
		close(log);
	return err;
}

static void go_raw(struct run *r, struct session *s)
{
	if (!isatty(0) || s->console < 0 || !s->input_open)
		return;
	fprintf(stderr, "vireo: booting Linux under %s; Ctrl-] stops it at "
		"once\n", r->vmm->name);
	s->raw_input = !term_raw();
}

/* One clear line for whatever ended it; returns the exit code it means. */
static int explain(const struct run *r, const struct session *s)
{
	const char *words = tail_last(&s->dev_tail);
	char how[32];

	switch (s->end) {
	case END_PANIC:
		complain("the guest's kernel panicked: %s", s->tail.panic);
		return EXIT_WRONG;
	case END_DEVICE:
		complain("the back end %s of %s died (%s); the guest was "
			 "stopped%s%s", s->dead->program, s->dead->name,
			 proc_how(&s->dead->proc, how, sizeof(how)),
			 *words ? "; last words: " : "", words);
		return EXIT_WRONG;
	case END_VMM:
		/* Who was killed had no last words. */
		words = WIFSIGNALED(r->guest.status) ? "" :
			tail_last(&s->tail);
		complain("%s ended with %s%s%s", r->vmm->name,
			 proc_how(&r->guest, how, sizeof(how)),
			 *words ? ": " : "", words);
		return EXIT_WRONG;
	case END_SIGNAL:
		complain("stopped by signal %d; the guest was switched off",
			 s->signal);
		return EXIT_SIGNALLED + s->signal;
	case END_ESCAPE:
		complain("stopped by Ctrl-]; the guest was switched off");
		return EXIT_ESCAPED;
	case END_TIMEOUT:
		complain("the guest did not end within %u s; it was switched "
			 "off; its last words: %s", r->opt.limit_s,
			 tail_last(&s->tail));
		return EXIT_LATE;
	default:
		return EXIT_RIGHT;
	}
}

static int host_step(const char *name, int err, const char *text)
{
	printf("  %-10s %-4s  %s\n", name, err ? "bad" : "ok", text);
	return err;
}

/* The steps of guest/check: one that was never told is as bad as a bad one. */
static int judge_check(const struct run *r, const struct session *s)
{
	static const char *const names[] = {
		"boot", "mount", "checksums", "write", "reread", "discard",
		"entropy", "unmount",
	};
	char text[256];
	int wrong = s->exit_code != 0;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		bool found = false;

		for (unsigned int k = 0; k < s->n_steps && !found; k++)
			found = !strcmp(s->steps[k].name, names[i]) &&
				strcmp(s->steps[k].verdict, "bad");
		if (!found && i >= s->n_steps)
			printf("  %-10s bad   not reached\n", names[i]);
		wrong |= !found;
	}
	wrong |= !!host_step("e2fsck", image_fsck(r->image, text,
						  sizeof(text)), text);
	wrong |= !!host_step("compare", image_compare(r->image, r->dir, text,
						      sizeof(text)), text);
	return wrong ? EXIT_WRONG : EXIT_RIGHT;
}

static int judge(const struct run *r, const struct session *s)
{
	int code = explain(r, s);

	if (r->opt.mode == MODE_CHECK && s->end == END_POWER_OFF)
		code = judge_check(r, s);
	else if (!code && (r->opt.mode == MODE_COMMAND ||
			   r->opt.mode == MODE_SCRIPT))
		code = s->exit_code < 0 ? EXIT_WRONG : s->exit_code;
	if (s->end == END_POWER_OFF && s->exit_code < 0 && s->filtered)
		complain("the guest went off without a word");
	if (r->opt.mode != MODE_COMMAND && r->opt.mode != MODE_SCRIPT)
		report_print(stdout, r);
	else if (r->opt.verbose)
		report_print(stderr, r);
	if (r->opt.mode == MODE_CHECK)
		puts(code ? "The self-check FAILED." : "All is right.");
	return code;
}

/* With the folder there: whatever happens, nothing is left behind. */
static int run_guest(struct run *r, struct session *s)
{
	double start;
	int err = prepare(r);

	if (err)
		return EXIT_WRONG;
	if (r->opt.mode == MODE_CHECK)
		printf("vireo run: a self-check under %s\n", r->vmm->name);
	fflush(stdout);
	start = now_seconds();
	err = start_all(r, s);
	if (!err) {
		go_raw(r, s);
		session_loop(s);
	}
	r->boot_s = now_seconds() - start;
	session_close(s);
	term_restore();
	return err ? EXIT_WRONG : judge(r, s);
}

int cmd_run(int argc, char **argv)
{
	static struct session session;
	static struct run run;
	int code;

	argv[0] = "vireo run";
	code = run_options_parse(&run.opt, argc, argv);
	if (code)
		return code - 1;
	if (choose_vmm(&run))
		return EXIT_WRONG;
	if (make_token(&run) || session_init(&session, &run) ||
	    make_dir(&run))
		return EXIT_WRONG;
	if (janitor_start(&run.janitor, run.opt.keep ? NULL : run.dir))
		complain("cannot start the janitor; go on without");
	code = run_guest(&run, &session);
	if (run.opt.keep)
		complain("kept %s", run.dir);
	else
		remove_tree(run.dir);
	janitor_dismiss(&run.janitor);
	return code;
}
