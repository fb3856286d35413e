/* Preloaded into a process with the real libxl, on a machine without Xen: what its contexts need to come into being. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *xc_interface_open(void *logger, void *dombuild_logger, unsigned flags)
{
    (void)logger, (void)dombuild_logger, (void)flags;
    return calloc(1, 4096);
}

int xc_interface_close(void *handle)
{
    free(handle);
    return 0;
}

int xc_version(void *handle, int command, void *argument)
{
    (void)handle, (void)command, (void)argument;
    return 0;
}

void *xs_open(unsigned long flags)
{
    (void)flags;
    return calloc(1, 4096);
}

void xs_close(void *handle)
{
    free(handle);
}
