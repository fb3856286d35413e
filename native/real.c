/* The parts of the glue that exist only with the real libxl, and the mock's controls as refusals. */
#define _GNU_SOURCE
#include "glue.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenctrl.h>

#define FORK_ATTEMPTS 20
#define PROOF_SECONDS 1

/* Takes each lock of Xen's libraries once; whoever finds one held for ever is ended by the clock. */
static void prove_locks(void)
{
    const struct itimerval soon = { .it_value.tv_sec = PROOF_SECONDS }, never = { { 0, 0 }, { 0, 0 } };
    sigset_t alarm, before;
    xc_physinfo_t info = { 0 };
    xc_interface *xch;

    signal(SIGALRM, SIG_DFL);
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_UNBLOCK, &alarm, &before);
    setitimer(ITIMER_REAL, &soon, NULL);
    xch = xc_interface_open(NULL, NULL, 0);
    if (xch) {
        xc_physinfo(xch, &info);
        xc_interface_close(xch);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

pid_t xapid_fork(void *user)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

    (void)user;
    for (int attempt = 0; attempt < FORK_ATTEMPTS; attempt++) {
        int proof[2], error;
        ssize_t got;
        char byte = 0;
        pid_t pid;

        /* Nobody else's child may hold the pipe: then its end would not be seen. */
        pthread_mutex_lock(&one_at_a_time);
        if (pipe2(proof, O_CLOEXEC)) {
            pthread_mutex_unlock(&one_at_a_time);
            return -1;
        }
        pid = fork();
        error = errno;
        if (pid)
            close(proof[1]);
        pthread_mutex_unlock(&one_at_a_time);
        if (!pid) {
            close(proof[0]);
            prove_locks();
            got = write(proof[1], &byte, 1);
            close(proof[1]);
            if (got != 1)
                _exit(XAPID_EXIT_DISASTER);
            return 0;
        }
        if (pid < 0) {
            close(proof[0]);
            errno = error;
            return -1;
        }
        do
            got = read(proof[0], &byte, 1);
        while (got < 0 && errno == EINTR);
        close(proof[0]);
        if (got == 1)
            return pid;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    errno = EDEADLK;
    return -1;
}

int xapid_domain_create_restore(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid, int fd)
{
    libxl_domain_restore_params params;
    int rc;

    libxl_domain_restore_params_init(&params);
    params.stream_version = 2;
    rc = libxl_domain_create_restore(ctx, d_config, domid, fd, -1, &params, NULL, NULL);
    libxl_domain_restore_params_dispose(&params);
    return rc;
}

static pthread_once_t first_question = PTHREAD_ONCE_INIT;
static xc_interface *hypervisor;

static void open_hypervisor(void)
{
    hypervisor = xc_interface_open(NULL, NULL, 0);
}

int xapid_cpu_idle(libxl_ctx *ctx, uint64_t *idle_ns, int room)
{
    xc_cpuinfo_t *cpus = calloc((size_t)room, sizeof(*cpus));
    int count = 0;

    (void)ctx;
    pthread_once(&first_question, open_hypervisor);
    if (!cpus || !hypervisor || xc_getcpuinfo(hypervisor, room, cpus, &count)) {
        free(cpus);
        return ERROR_FAIL;
    }
    if (count > room)
        count = room;
    for (int cpu = 0; cpu < count; cpu++)
        idle_ns[cpu] = cpus[cpu].idletime;
    free(cpus);
    return count;
}

int xapid_set_paging_memory(libxl_ctx *ctx, uint32_t domid, uint64_t kib)
{
    (void)ctx;
    pthread_once(&first_question, open_hypervisor);
    if (!hypervisor)
        return ERROR_FAIL;
    if (!xc_set_paging_mempool_size(hypervisor, domid, kib * 1024))
        return 0;
    switch (errno) {
    case ENOMEM:
        return ERROR_NOMEM;
    case EINVAL:
        return ERROR_INVAL;
    case ESRCH:
        return ERROR_DOMAIN_NOTFOUND;
    default:
        return ERROR_FAIL;
    }
}

int xapid_is_mock(void)
{
    return 0;
}

int xapid_mock_set(const char *knob, int64_t value)
{
    (void)knob, (void)value;
    return ERROR_NI;
}

int xapid_mock_get(const char *knob, int64_t *value)
{
    (void)knob, (void)value;
    return ERROR_NI;
}

int xapid_mock_order(uint32_t domid, const char *order, int64_t value)
{
    (void)domid, (void)order, (void)value;
    return ERROR_NI;
}

int xapid_mock_ask(uint32_t domid, const char *fact, int64_t *value)
{
    (void)domid, (void)fact, (void)value;
    return ERROR_NI;
}

int xapid_mock_find(const char *uuid, uint32_t *domid)
{
    (void)uuid, (void)domid;
    return ERROR_NI;
}

int xapid_mock_fail(const char *function, int action, int rc, int count, uint32_t domid, const char *uuid)
{
    (void)function, (void)action, (void)rc, (void)count, (void)domid, (void)uuid;
    return ERROR_NI;
}

int xapid_mock_release(void)
{
    return ERROR_NI;
}

int xapid_mock_hanging(void)
{
    return ERROR_NI;
}

int xapid_mock_reset(void)
{
    return ERROR_NI;
}
