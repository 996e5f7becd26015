/*
 * Runs a command and tells on descriptor 3 what it took, as a line: nanoseconds from before it was
 * started until it had ended, microseconds of processor time of it and of all its children that it
 * has waited for, and the largest resident set that one of them had, in KiB. Ends as the command
 * did. So small a program, because what a process is forked from counts as its resident set.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define REPORT_FD 3
#define NS_PER_S 1000000000LL
#define US_PER_S 1000000LL

extern char **environ;

static long long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static long long us(struct timeval time)
{
	return time.tv_sec * US_PER_S + time.tv_usec;
}

int main(int count, char **arguments)
{
	struct rusage usage;
	long long begin_ns;
	int error, status;
	pid_t child;

	if (count < 2 || fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC) < 0)
		return 2;
	begin_ns = now_ns();
	error = posix_spawn(&child, arguments[1], NULL, NULL, arguments + 1, environ);
	if (error != 0) {
		fprintf(stderr, "Cannot run %s: %s\n", arguments[1], strerror(error));
		return 127;
	}
	if (wait4(child, &status, 0, &usage) != child)
		return 2;
	dprintf(REPORT_FD, "%lld %lld %ld\n", now_ns() - begin_ns,
		us(usage.ru_utime) + us(usage.ru_stime), usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
