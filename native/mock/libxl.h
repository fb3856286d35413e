/* The declarations that the mock shares with libxl: names and values as the library's users know them. Layouts are the
 * mock's own; configurations are kept as JSON. */
#ifndef XAPID_MOCK_LIBXL_H
#define XAPID_MOCK_LIBXL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIBXL_VERSION 0
#define LIBXL_SUSPEND_DEBUG 1
#define LIBXL_SUSPEND_LIVE 2
#define LIBXL_EVENTMASK_ALL (~(unsigned long)0)
#define LIBXL_CPUTOPOLOGY_INVALID_ENTRY (~(uint32_t)0)
#define LIBXL_NUMAINFO_INVALID_ENTRY (~(uint32_t)0)
#define LIBXL_DOMAIN_SCHED_PARAM_WEIGHT_DEFAULT -1
#define LIBXL_DOMAIN_SCHED_PARAM_CAP_DEFAULT -1

typedef enum libxl_error {
    ERROR_NONSPECIFIC = -1, ERROR_VERSION = -2, ERROR_FAIL = -3, ERROR_NI = -4, ERROR_NOMEM = -5, ERROR_INVAL = -6,
    ERROR_BADFAIL = -7, ERROR_GUEST_TIMEDOUT = -8, ERROR_TIMEDOUT = -9, ERROR_NOPARAVIRT = -10, ERROR_NOT_READY = -11,
    ERROR_OSEVENT_REG_FAIL = -12, ERROR_BUFFERFULL = -13, ERROR_UNKNOWN_CHILD = -14, ERROR_LOCK_FAIL = -15,
    ERROR_JSON_CONFIG_EMPTY = -16, ERROR_DEVICE_EXISTS = -17, ERROR_CHECKPOINT_DEVOPS_DOES_NOT_MATCH = -18,
    ERROR_CHECKPOINT_DEVICE_NOT_SUPPORTED = -19, ERROR_VNUMA_CONFIG_INVALID = -20, ERROR_DOMAIN_NOTFOUND = -21,
    ERROR_ABORTED = -22, ERROR_NOTFOUND = -23, ERROR_DOMAIN_DESTROYED = -24, ERROR_FEATURE_REMOVED = -25,
    ERROR_PROTOCOL_ERROR_QMP = -26, ERROR_UNKNOWN_QMP_ERROR = -27, ERROR_QMP_GENERIC_ERROR = -28,
    ERROR_QMP_COMMAND_NOT_FOUND = -29, ERROR_QMP_DEVICE_NOT_ACTIVE = -30, ERROR_QMP_DEVICE_NOT_FOUND = -31,
    ERROR_QEMU_API = -32,
} libxl_error;

typedef enum libxl_domain_type {
    LIBXL_DOMAIN_TYPE_INVALID = -1, LIBXL_DOMAIN_TYPE_HVM = 1, LIBXL_DOMAIN_TYPE_PV = 2, LIBXL_DOMAIN_TYPE_PVH = 3,
} libxl_domain_type;

typedef enum libxl_shutdown_reason {
    LIBXL_SHUTDOWN_REASON_UNKNOWN = -1, LIBXL_SHUTDOWN_REASON_POWEROFF = 0, LIBXL_SHUTDOWN_REASON_REBOOT = 1,
    LIBXL_SHUTDOWN_REASON_SUSPEND = 2, LIBXL_SHUTDOWN_REASON_CRASH = 3, LIBXL_SHUTDOWN_REASON_WATCHDOG = 4,
    LIBXL_SHUTDOWN_REASON_SOFT_RESET = 5,
} libxl_shutdown_reason;

typedef enum libxl_trigger {
    LIBXL_TRIGGER_UNKNOWN = 0, LIBXL_TRIGGER_POWER = 1, LIBXL_TRIGGER_SLEEP = 2, LIBXL_TRIGGER_NMI = 3,
    LIBXL_TRIGGER_INIT = 4, LIBXL_TRIGGER_RESET = 5, LIBXL_TRIGGER_S3RESUME = 6,
} libxl_trigger;

typedef enum libxl_scheduler {
    LIBXL_SCHEDULER_UNKNOWN = 0, LIBXL_SCHEDULER_SEDF = 4, LIBXL_SCHEDULER_CREDIT = 5, LIBXL_SCHEDULER_CREDIT2 = 6,
    LIBXL_SCHEDULER_ARINC653 = 7, LIBXL_SCHEDULER_RTDS = 8, LIBXL_SCHEDULER_NULL = 9,
} libxl_scheduler;

typedef enum libxl_console_type {
    LIBXL_CONSOLE_TYPE_UNKNOWN = 0, LIBXL_CONSOLE_TYPE_SERIAL = 1, LIBXL_CONSOLE_TYPE_PV = 2,
    LIBXL_CONSOLE_TYPE_VUART = 3,
} libxl_console_type;

typedef enum libxl_event_type {
    LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN = 1, LIBXL_EVENT_TYPE_DOMAIN_DEATH = 2, LIBXL_EVENT_TYPE_DISK_EJECT = 3,
    LIBXL_EVENT_TYPE_OPERATION_COMPLETE = 4, LIBXL_EVENT_TYPE_DOMAIN_CREATE_CONSOLE_AVAILABLE = 5,
} libxl_event_type;

typedef enum xentoollog_level {
    XTL_NONE, XTL_DEBUG, XTL_VERBOSE, XTL_DETAIL, XTL_PROGRESS, XTL_INFO, XTL_NOTICE, XTL_WARN, XTL_ERROR,
    XTL_CRITICAL, XTL_NUM_LEVELS
} xentoollog_level;

typedef struct xentoollog_logger xentoollog_logger;
struct xentoollog_logger {
    void (*vmessage)(struct xentoollog_logger *logger, xentoollog_level level, int errnoval, const char *context,
                     const char *format, va_list al) __attribute__((format(printf, 5, 0)));
    void (*progress)(struct xentoollog_logger *logger, const char *context, const char *doing_what, int percent,
                     unsigned long done, unsigned long total);
    void (*destroy)(struct xentoollog_logger *logger);
};

typedef struct libxl__ctx libxl_ctx;
typedef struct libxl__evgen_domain_death libxl_evgen_domain_death;
typedef struct libxl__xen_console_reader libxl_xen_console_reader;
typedef uint32_t libxl_domid;
typedef int libxl_devid;
typedef uint64_t libxl_ev_user;
typedef uint32_t libxl_hwcap[8];

typedef struct { unsigned char uuid[16]; } libxl_uuid;
typedef struct { uint32_t size; uint8_t *map; } libxl_bitmap;
typedef struct { int unused; } libxl_asyncop_how;
typedef struct { int unused; } libxl_asyncprogress_how;

struct json;
typedef struct libxl_domain_config { struct json *json; } libxl_domain_config;
typedef struct libxl_device_disk { struct json *json; } libxl_device_disk;
typedef struct libxl_device_nic { struct json *json; } libxl_device_nic;

typedef struct libxl_dominfo {
    libxl_uuid uuid;
    libxl_domid domid;
    bool running, blocked, paused, shutdown, dying;
    libxl_shutdown_reason shutdown_reason;
    uint64_t outstanding_memkb, current_memkb, max_memkb, cpu_time;
    uint32_t vcpu_max_id, vcpu_online, cpupool;
    libxl_domain_type domain_type;
} libxl_dominfo;

typedef struct libxl_vcpuinfo {
    uint32_t vcpuid, cpu;
    bool online, blocked, running;
    uint64_t vcpu_time;
    libxl_bitmap cpumap, cpumap_soft;
} libxl_vcpuinfo;

typedef struct libxl_version_info {
    int xen_version_major, xen_version_minor;
    char *xen_version_extra, *compiler, *compile_by, *compile_domain, *compile_date, *capabilities, *changeset;
    uint64_t virt_start;
    int pagesize;
    char *commandline, *build_id;
} libxl_version_info;

typedef struct libxl_physinfo {
    uint32_t threads_per_core, cores_per_socket, max_cpu_id, nr_cpus, cpu_khz;
    uint64_t total_pages, free_pages, scrub_pages, outstanding_pages, sharing_freed_pages, sharing_used_frames;
    uint64_t max_possible_mfn;
    uint32_t nr_nodes;
    libxl_hwcap hw_cap;
    bool cap_hvm, cap_pv, cap_hvm_directio, cap_hap, cap_shadow, cap_iommu_hap_pt_share;
} libxl_physinfo;

typedef struct libxl_cputopology { uint32_t core, socket, node; } libxl_cputopology;
typedef struct libxl_numainfo { uint64_t size, free; int num_dists; uint32_t *dists; } libxl_numainfo;
typedef struct libxl_domain_sched_params { libxl_scheduler sched; int weight, cap; } libxl_domain_sched_params;

typedef struct libxl_diskinfo {
    char *backend;
    uint32_t backend_id;
    char *frontend;
    uint32_t frontend_id;
    libxl_devid devid;
    int state, evtch, rref;
} libxl_diskinfo;

typedef struct libxl_nicinfo {
    char *backend;
    uint32_t backend_id;
    char *frontend;
    uint32_t frontend_id;
    libxl_devid devid;
    int state, evtch, rref_tx, rref_rx;
} libxl_nicinfo;

typedef struct libxl_event {
    libxl_domid domid;
    libxl_uuid domuuid;
    uint64_t for_user;
    libxl_event_type type;
    union { struct { uint8_t shutdown_reason; } domain_shutdown; } u;
    struct libxl_event *next;
} libxl_event;

typedef int libxl_event_predicate(const libxl_event *event, void *user);

int libxl_ctx_alloc(libxl_ctx **pctx, int version, unsigned flags, xentoollog_logger *lg);

const char *libxl_error_to_string(libxl_error p);
const char *libxl_domain_type_to_string(libxl_domain_type p);
const char *libxl_shutdown_reason_to_string(libxl_shutdown_reason p);
const char *libxl_scheduler_to_string(libxl_scheduler p);
int libxl_trigger_from_string(const char *s, libxl_trigger *e);
int libxl_ctx_free(libxl_ctx *ctx);
int libxl_ao_abort(libxl_ctx *ctx, const libxl_asyncop_how *how);
int libxl_event_check(libxl_ctx *ctx, libxl_event **event_r, uint64_t typemask,
                      libxl_event_predicate *predicate, void *predicate_user);
int libxl_event_wait(libxl_ctx *ctx, libxl_event **event_r, uint64_t typemask,
                     libxl_event_predicate *predicate, void *predicate_user);
void libxl_event_free(libxl_ctx *ctx, libxl_event *event);
int libxl_evenable_domain_death(libxl_ctx *ctx, uint32_t domid, libxl_ev_user user,
                                libxl_evgen_domain_death **evgen_out);
void libxl_evdisable_domain_death(libxl_ctx *ctx, libxl_evgen_domain_death *evgen);
void libxl_domain_config_init(libxl_domain_config *d_config);
void libxl_domain_config_dispose(libxl_domain_config *d_config);
char *libxl_domain_config_to_json(libxl_ctx *ctx, libxl_domain_config *p);
int libxl_domain_config_from_json(libxl_ctx *ctx, libxl_domain_config *p, const char *s);
int libxl_retrieve_domain_configuration(libxl_ctx *ctx, uint32_t domid, libxl_domain_config *d_config,
                                        const libxl_asyncop_how *ao_how);
int libxl_userdata_store(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid, const uint8_t *data,
                         int datalen);
int libxl_userdata_retrieve(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid, uint8_t **data_r,
                            int *datalen_r);
int libxl_userdata_unlink(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid);
int libxl_domain_create_new(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid,
                            const libxl_asyncop_how *ao_how, const libxl_asyncprogress_how *aop_console_how);
int libxl_domain_suspend(libxl_ctx *ctx, uint32_t domid, int fd, int flags, const libxl_asyncop_how *ao_how);
int libxl_domain_resume(libxl_ctx *ctx, uint32_t domid, int suspend_cancel, const libxl_asyncop_how *ao_how);
int libxl_domain_shutdown(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how);
int libxl_domain_reboot(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how);
int libxl_domain_destroy(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how);
int libxl_domain_pause(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how);
int libxl_domain_unpause(libxl_ctx *ctx, uint32_t domid, const libxl_asyncop_how *ao_how);
int libxl_domain_core_dump(libxl_ctx *ctx, uint32_t domid, const char *filename,
                           const libxl_asyncop_how *ao_how);
int libxl_send_trigger(libxl_ctx *ctx, uint32_t domid, libxl_trigger trigger, uint32_t vcpuid,
                       const libxl_asyncop_how *ao_how);
int libxl_send_sysrq(libxl_ctx *ctx, uint32_t domid, char sysrq);
int libxl_domain_rename(libxl_ctx *ctx, uint32_t domid, const char *old_name, const char *new_name);
int libxl_name_to_domid(libxl_ctx *ctx, const char *name, uint32_t *domid);
char *libxl_domid_to_name(libxl_ctx *ctx, uint32_t domid);
int libxl_domain_setmaxmem(libxl_ctx *ctx, uint32_t domid, uint64_t target_memkb);
int libxl_set_memory_target(libxl_ctx *ctx, uint32_t domid, int64_t target_memkb, int relative, int enforce);
int libxl_get_memory_target(libxl_ctx *ctx, uint32_t domid, uint64_t *out_target);
int libxl_domain_need_memory(libxl_ctx *ctx, libxl_domain_config *config, uint32_t domid_for_logging,
                             uint64_t *need_memkb);
int libxl_get_free_memory(libxl_ctx *ctx, uint64_t *memkb);
int libxl_set_vcpuonline(libxl_ctx *ctx, uint32_t domid, libxl_bitmap *cpumap, const libxl_asyncop_how *ao_how);
int libxl_set_vcpuaffinity(libxl_ctx *ctx, uint32_t domid, uint32_t vcpuid, const libxl_bitmap *cpumap_hard,
                           const libxl_bitmap *cpumap_soft);
int libxl_set_vcpuaffinity_all(libxl_ctx *ctx, uint32_t domid, unsigned int max_vcpus,
                               const libxl_bitmap *cpumap_hard, const libxl_bitmap *cpumap_soft);
libxl_vcpuinfo *libxl_list_vcpu(libxl_ctx *ctx, uint32_t domid, int *nb_vcpu, int *nr_cpus_out);
void libxl_vcpuinfo_list_free(libxl_vcpuinfo *list, int nr_vcpus);
void libxl_domain_sched_params_init(libxl_domain_sched_params *p);
void libxl_domain_sched_params_dispose(libxl_domain_sched_params *p);
int libxl_domain_sched_params_get(libxl_ctx *ctx, uint32_t domid, libxl_domain_sched_params *params);
int libxl_domain_sched_params_set(libxl_ctx *ctx, uint32_t domid, const libxl_domain_sched_params *params);
int libxl_get_scheduler(libxl_ctx *ctx);
void libxl_bitmap_init(libxl_bitmap *map);
void libxl_bitmap_dispose(libxl_bitmap *map);
int libxl_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *bitmap, int n_bits);
int libxl_cpu_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *cpumap, int max_cpus);
void libxl_bitmap_set(libxl_bitmap *bitmap, int bit);
void libxl_bitmap_reset(libxl_bitmap *bitmap, int bit);
int libxl_bitmap_test(const libxl_bitmap *bitmap, int bit);
int libxl_bitmap_count_set(const libxl_bitmap *bitmap);
void libxl_dominfo_init(libxl_dominfo *p);
void libxl_dominfo_dispose(libxl_dominfo *p);
int libxl_domain_info(libxl_ctx *ctx, libxl_dominfo *info_r, uint32_t domid);
libxl_dominfo *libxl_list_domain(libxl_ctx *ctx, int *nb_domain_out);
void libxl_dominfo_list_free(libxl_dominfo *list, int nb_domain);
void libxl_physinfo_init(libxl_physinfo *p);
void libxl_physinfo_dispose(libxl_physinfo *p);
int libxl_get_physinfo(libxl_ctx *ctx, libxl_physinfo *physinfo);
const libxl_version_info *libxl_get_version_info(libxl_ctx *ctx);
libxl_cputopology *libxl_get_cpu_topology(libxl_ctx *ctx, int *nb_cpu_out);
void libxl_cputopology_list_free(libxl_cputopology *list, int nb_cpu);
libxl_numainfo *libxl_get_numainfo(libxl_ctx *ctx, int *nr);
void libxl_numainfo_list_free(libxl_numainfo *list, int nr);
int libxl_get_max_cpus(libxl_ctx *ctx);
int libxl_get_online_cpus(libxl_ctx *ctx);
int libxl_send_debug_keys(libxl_ctx *ctx, char *keys);
libxl_xen_console_reader *libxl_xen_console_read_start(libxl_ctx *ctx, int clear);
int libxl_xen_console_read_line(libxl_ctx *ctx, libxl_xen_console_reader *cr,
                                char **line_r);
void libxl_xen_console_read_finish(libxl_ctx *ctx, libxl_xen_console_reader *cr);
int libxl_primary_console_get_tty(libxl_ctx *ctx, uint32_t domid_vm, char **path);
int libxl_console_get_tty(libxl_ctx *ctx, uint32_t domid, int cons_num, libxl_console_type type, char **path);
void libxl_device_disk_init(libxl_device_disk *p);
void libxl_device_disk_dispose(libxl_device_disk *p);
char *libxl_device_disk_to_json(libxl_ctx *ctx, libxl_device_disk *p);
int libxl_device_disk_from_json(libxl_ctx *ctx, libxl_device_disk *p, const char *s);
int libxl_device_disk_add(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk, const libxl_asyncop_how *ao_how);
int libxl_device_disk_remove(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk,
                             const libxl_asyncop_how *ao_how);
int libxl_device_disk_safe_remove(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk,
                                  const libxl_asyncop_how *ao_how);
int libxl_device_disk_destroy(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk,
                              const libxl_asyncop_how *ao_how);
libxl_device_disk *libxl_device_disk_list(libxl_ctx *ctx, uint32_t domid, int *num);
void libxl_device_disk_list_free(libxl_device_disk *list, int num);
int libxl_device_disk_getinfo(libxl_ctx *ctx, uint32_t domid, const libxl_device_disk *disk,
                              libxl_diskinfo *diskinfo);
void libxl_diskinfo_init(libxl_diskinfo *p);
void libxl_diskinfo_dispose(libxl_diskinfo *p);
int libxl_vdev_to_device_disk(libxl_ctx *ctx, uint32_t domid, const char *vdev, libxl_device_disk *disk);
int libxl_cdrom_insert(libxl_ctx *ctx, uint32_t domid, libxl_device_disk *disk, const libxl_asyncop_how *ao_how);
void libxl_device_nic_init(libxl_device_nic *p);
void libxl_device_nic_dispose(libxl_device_nic *p);
char *libxl_device_nic_to_json(libxl_ctx *ctx, libxl_device_nic *p);
int libxl_device_nic_from_json(libxl_ctx *ctx, libxl_device_nic *p, const char *s);
int libxl_device_nic_add(libxl_ctx *ctx, uint32_t domid, libxl_device_nic *nic, const libxl_asyncop_how *ao_how);
int libxl_device_nic_remove(libxl_ctx *ctx, uint32_t domid, libxl_device_nic *nic,
                            const libxl_asyncop_how *ao_how);
int libxl_device_nic_destroy(libxl_ctx *ctx, uint32_t domid, libxl_device_nic *nic,
                             const libxl_asyncop_how *ao_how);
libxl_device_nic *libxl_device_nic_list(libxl_ctx *ctx, uint32_t domid, int *num);
void libxl_device_nic_list_free(libxl_device_nic *list, int num);
int libxl_device_nic_getinfo(libxl_ctx *ctx, uint32_t domid, const libxl_device_nic *nic, libxl_nicinfo *nicinfo);
void libxl_nicinfo_init(libxl_nicinfo *p);
void libxl_nicinfo_dispose(libxl_nicinfo *p);
int libxl_mac_to_device_nic(libxl_ctx *ctx, uint32_t domid, const char *mac, libxl_device_nic *nic);
int libxl_devid_to_device_nic(libxl_ctx *ctx, uint32_t domid, int devid, libxl_device_nic *nic);

#endif
