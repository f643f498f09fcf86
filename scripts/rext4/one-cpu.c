// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded into a User-Mode Linux that has one CPU.
 *
 * A kernel with CONFIG_SMP keeps the signal away by which CPUs interrupt each other whenever it
 * disables interrupts: two system calls of the host for each pair of local_irq_save() and
 * local_irq_restore(), which is half of all the time that it takes. Where there is one CPU nobody
 * sends that signal (arch/um/os-Linux/smp.c), and it need not be kept away.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

static sigset_t ipi;

__attribute__((constructor)) static void init(void)
{
	sigemptyset(&ipi);
	sigaddset(&ipi, SIGRTMIN);
}

int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int error;

	/* The 64 signals that there are. */
	if (set && !old && how != SIG_SETMASK && !memcmp(set, &ipi, 8))
		return 0;
	error = pthread_sigmask(how, set, old);
	if (error)
		errno = error;
	return error ? -1 : 0;
}
