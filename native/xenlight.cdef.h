/*
 * The part of libxl that xapid-xen uses, as cffi reads it. Both modules (_libxl against the real library, _libxl_mock
 * against native/mock) are built from this one file. "...;" leaves layouts to the compiler, so a struct may have more
 * members, in another order, than are listed here. Opaque structs travel as JSON (_from_json, _to_json).
 *
 * Ownership: strings and arrays that libxl returns come from malloc; strings are given back with free(), lists with
 * their _list_free. Outer structs may be ffi.new("libxl_X *"); call _init before and _dispose after use.
 * Every ao_how is NULL here: the call returns when the operation has ended, and libxl_ao_abort(ctx, NULL) from another
 * thread ends it early with ERROR_ABORTED.
 */

void free(void *ptr);

/* ---- constants ---- */

#define LIBXL_VERSION ...
#define LIBXL_SUSPEND_DEBUG ...
#define LIBXL_SUSPEND_LIVE ...
#define LIBXL_EVENTMASK_ALL ...
#define LIBXL_CPUTOPOLOGY_INVALID_ENTRY ...
#define LIBXL_NUMAINFO_INVALID_ENTRY ...
#define LIBXL_DOMAIN_SCHED_PARAM_WEIGHT_DEFAULT ...
#define LIBXL_DOMAIN_SCHED_PARAM_CAP_DEFAULT ...
#define XAPID_INVALID_DOMID ...          /* what libxl calls INVALID_DOMID, as an unsigned number */

typedef enum libxl_error {
    ERROR_NONSPECIFIC, ERROR_VERSION, ERROR_FAIL, ERROR_NI, ERROR_NOMEM, ERROR_INVAL, ERROR_BADFAIL,
    ERROR_GUEST_TIMEDOUT, ERROR_TIMEDOUT, ERROR_NOPARAVIRT, ERROR_NOT_READY, ERROR_OSEVENT_REG_FAIL,
    ERROR_BUFFERFULL, ERROR_UNKNOWN_CHILD, ERROR_LOCK_FAIL, ERROR_JSON_CONFIG_EMPTY, ERROR_DEVICE_EXISTS,
    ERROR_CHECKPOINT_DEVOPS_DOES_NOT_MATCH, ERROR_CHECKPOINT_DEVICE_NOT_SUPPORTED,
    ERROR_VNUMA_CONFIG_INVALID, ERROR_DOMAIN_NOTFOUND, ERROR_ABORTED, ERROR_NOTFOUND,
    ERROR_DOMAIN_DESTROYED, ERROR_FEATURE_REMOVED, ERROR_PROTOCOL_ERROR_QMP, ERROR_UNKNOWN_QMP_ERROR,
    ERROR_QMP_GENERIC_ERROR, ERROR_QMP_COMMAND_NOT_FOUND, ERROR_QMP_DEVICE_NOT_ACTIVE,
    ERROR_QMP_DEVICE_NOT_FOUND, ERROR_QEMU_API,
    ...
} libxl_error;

typedef enum libxl_domain_type {
    LIBXL_DOMAIN_TYPE_INVALID, LIBXL_DOMAIN_TYPE_HVM, LIBXL_DOMAIN_TYPE_PV, LIBXL_DOMAIN_TYPE_PVH,
    ...
} libxl_domain_type;

typedef enum libxl_shutdown_reason {
    LIBXL_SHUTDOWN_REASON_UNKNOWN, LIBXL_SHUTDOWN_REASON_POWEROFF, LIBXL_SHUTDOWN_REASON_REBOOT,
    LIBXL_SHUTDOWN_REASON_SUSPEND, LIBXL_SHUTDOWN_REASON_CRASH, LIBXL_SHUTDOWN_REASON_WATCHDOG,
    LIBXL_SHUTDOWN_REASON_SOFT_RESET,
    ...
} libxl_shutdown_reason;

typedef enum libxl_trigger {
    LIBXL_TRIGGER_UNKNOWN, LIBXL_TRIGGER_POWER, LIBXL_TRIGGER_SLEEP, LIBXL_TRIGGER_NMI,
    LIBXL_TRIGGER_INIT, LIBXL_TRIGGER_RESET, LIBXL_TRIGGER_S3RESUME,
    ...
} libxl_trigger;

typedef enum libxl_scheduler {
    LIBXL_SCHEDULER_UNKNOWN, LIBXL_SCHEDULER_SEDF, LIBXL_SCHEDULER_CREDIT, LIBXL_SCHEDULER_CREDIT2,
    LIBXL_SCHEDULER_ARINC653, LIBXL_SCHEDULER_RTDS, LIBXL_SCHEDULER_NULL,
    ...
} libxl_scheduler;

typedef enum libxl_console_type {
    LIBXL_CONSOLE_TYPE_UNKNOWN, LIBXL_CONSOLE_TYPE_SERIAL, LIBXL_CONSOLE_TYPE_PV, LIBXL_CONSOLE_TYPE_VUART,
    ...
} libxl_console_type;

typedef enum libxl_event_type {
    LIBXL_EVENT_TYPE_DOMAIN_SHUTDOWN, LIBXL_EVENT_TYPE_DOMAIN_DEATH, LIBXL_EVENT_TYPE_DISK_EJECT,
    LIBXL_EVENT_TYPE_OPERATION_COMPLETE, LIBXL_EVENT_TYPE_DOMAIN_CREATE_CONSOLE_AVAILABLE,
    ...
} libxl_event_type;

typedef enum xentoollog_level {
    XTL_NONE, XTL_DEBUG, XTL_VERBOSE, XTL_DETAIL, XTL_PROGRESS, XTL_INFO, XTL_NOTICE, XTL_WARN, XTL_ERROR,
    XTL_CRITICAL,
    ...
} xentoollog_level;

const char *libxl_error_to_string(libxl_error p);
const char *libxl_domain_type_to_string(libxl_domain_type p);
const char *libxl_shutdown_reason_to_string(libxl_shutdown_reason p);
const char *libxl_scheduler_to_string(libxl_scheduler p);
int libxl_trigger_from_string(const char *s, libxl_trigger *e);

/* ---- types ---- */

typedef struct libxl__ctx libxl_ctx;
typedef struct xentoollog_logger xentoollog_logger;
typedef struct libxl__evgen_domain_death libxl_evgen_domain_death;
typedef struct libxl__xen_console_reader libxl_xen_console_reader;

typedef uint32_t libxl_domid;
typedef int libxl_devid;
typedef uint64_t libxl_ev_user;
typedef uint32_t libxl_hwcap[8];

typedef struct { unsigned char uuid[16]; ...; } libxl_uuid;
typedef struct { uint32_t size; uint8_t *map; ...; } libxl_bitmap;     /* size is in bytes */
typedef struct { ...; } libxl_asyncop_how;                             /* always NULL */
typedef struct { ...; } libxl_asyncprogress_how;                       /* always NULL */

typedef struct libxl_domain_config { ...; } libxl_domain_config;
typedef struct libxl_device_disk { ...; } libxl_device_disk;
typedef struct libxl_device_nic { ...; } libxl_device_nic;

typedef struct libxl_dominfo {
    libxl_uuid uuid;
    libxl_domid domid;
    bool running;
    bool blocked;
    bool paused;
    bool shutdown;
    bool dying;
    libxl_shutdown_reason shutdown_reason;   /* meaningful only while shutdown is set */
    uint64_t outstanding_memkb;
    uint64_t current_memkb;
    uint64_t max_memkb;
    uint64_t cpu_time;                       /* nanoseconds */
    uint32_t vcpu_max_id;
    uint32_t vcpu_online;
    uint32_t cpupool;
    libxl_domain_type domain_type;
    ...;
} libxl_dominfo;

typedef struct libxl_vcpuinfo {
    uint32_t vcpuid;
    uint32_t cpu;
    bool online;
    bool blocked;
    bool running;
    uint64_t vcpu_time;                      /* nanoseconds */
    libxl_bitmap cpumap;
    libxl_bitmap cpumap_soft;
    ...;
} libxl_vcpuinfo;

typedef struct libxl_version_info {
    int xen_version_major;
    int xen_version_minor;
    char *xen_version_extra;
    char *compiler;
    char *compile_by;
    char *compile_domain;
    char *compile_date;
    char *capabilities;
    char *changeset;
    uint64_t virt_start;
    int pagesize;
    char *commandline;
    char *build_id;
    ...;
} libxl_version_info;

typedef struct libxl_physinfo {
    uint32_t threads_per_core;
    uint32_t cores_per_socket;
    uint32_t max_cpu_id;
    uint32_t nr_cpus;
    uint32_t cpu_khz;
    uint64_t total_pages;
    uint64_t free_pages;
    uint64_t scrub_pages;
    uint64_t outstanding_pages;
    uint64_t sharing_freed_pages;
    uint64_t sharing_used_frames;
    uint64_t max_possible_mfn;
    uint32_t nr_nodes;
    libxl_hwcap hw_cap;
    bool cap_hvm;
    bool cap_pv;
    bool cap_hvm_directio;
    bool cap_hap;
    bool cap_shadow;
    bool cap_iommu_hap_pt_share;
    ...;
} libxl_physinfo;

typedef struct libxl_cputopology { uint32_t core; uint32_t socket; uint32_t node; ...; } libxl_cputopology;

typedef struct libxl_numainfo {
    uint64_t size;                           /* bytes */
    uint64_t free;                           /* bytes */
    int num_dists;
    uint32_t *dists;
    ...;
} libxl_numainfo;

typedef struct libxl_domain_sched_params {
    libxl_scheduler sched;
    int weight;
    int cap;
    ...;
} libxl_domain_sched_params;

typedef struct libxl_diskinfo {
    char *backend;
    uint32_t backend_id;
    char *frontend;
    uint32_t frontend_id;
    libxl_devid devid;
    int state;                               /* xenbus state: 4 is connected */
    int evtch;
    int rref;
    ...;
} libxl_diskinfo;

typedef struct libxl_nicinfo {
    char *backend;
    uint32_t backend_id;
    char *frontend;
    uint32_t frontend_id;
    libxl_devid devid;
    int state;                               /* xenbus state: 4 is connected */
    int evtch;
    int rref_tx;
    int rref_rx;
    ...;
} libxl_nicinfo;

typedef struct libxl_event {
    libxl_domid domid;
    libxl_uuid domuuid;                      /* libxl leaves it zero for deaths and shutdowns */
    uint64_t for_user;
    libxl_event_type type;
    ...;                                     /* the reason: xapid_event_shutdown_reason() */
} libxl_event;

typedef int libxl_event_predicate(const libxl_event *event, void *user);

/* ---- contexts, events ---- */

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

/* ---- configuration ---- */

void libxl_domain_config_init(libxl_domain_config *d_config);
void libxl_domain_config_dispose(libxl_domain_config *d_config);
char *libxl_domain_config_to_json(libxl_ctx *ctx, libxl_domain_config *p);
int libxl_domain_config_from_json(libxl_ctx *ctx, libxl_domain_config *p, const char *s);
int libxl_retrieve_domain_configuration(libxl_ctx *ctx, uint32_t domid, libxl_domain_config *d_config,
                                        const libxl_asyncop_how *ao_how);
int libxl_userdata_store(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid, const uint8_t *data,
                         int datalen);
int libxl_userdata_retrieve(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid, uint8_t **data_r,
                            int *datalen_r);     /* no such key: rc 0, *data_r NULL, *datalen_r 0 */
int libxl_userdata_unlink(libxl_ctx *ctx, uint32_t domid, const char *userdata_userid);

/* ---- the life of a domain ---- */

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
char *libxl_domid_to_name(libxl_ctx *ctx, uint32_t domid);              /* free() it; NULL when unknown */

/* ---- memory, vCPUs ---- */

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
int libxl_get_scheduler(libxl_ctx *ctx);                                /* a libxl_scheduler, or < 0: an error */

void libxl_bitmap_init(libxl_bitmap *map);
void libxl_bitmap_dispose(libxl_bitmap *map);
int libxl_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *bitmap, int n_bits);
int libxl_cpu_bitmap_alloc(libxl_ctx *ctx, libxl_bitmap *cpumap, int max_cpus);   /* 0: as many as the host has */
void libxl_bitmap_set(libxl_bitmap *bitmap, int bit);
void libxl_bitmap_reset(libxl_bitmap *bitmap, int bit);
int libxl_bitmap_test(const libxl_bitmap *bitmap, int bit);
int libxl_bitmap_count_set(const libxl_bitmap *bitmap);

/* ---- reading the host and its domains ---- */

void libxl_dominfo_init(libxl_dominfo *p);
void libxl_dominfo_dispose(libxl_dominfo *p);
int libxl_domain_info(libxl_ctx *ctx, libxl_dominfo *info_r, uint32_t domid);
libxl_dominfo *libxl_list_domain(libxl_ctx *ctx, int *nb_domain_out);
void libxl_dominfo_list_free(libxl_dominfo *list, int nb_domain);
void libxl_physinfo_init(libxl_physinfo *p);
void libxl_physinfo_dispose(libxl_physinfo *p);
int libxl_get_physinfo(libxl_ctx *ctx, libxl_physinfo *physinfo);
const libxl_version_info *libxl_get_version_info(libxl_ctx *ctx);       /* belongs to ctx */
libxl_cputopology *libxl_get_cpu_topology(libxl_ctx *ctx, int *nb_cpu_out);
void libxl_cputopology_list_free(libxl_cputopology *list, int nb_cpu);
libxl_numainfo *libxl_get_numainfo(libxl_ctx *ctx, int *nr);
void libxl_numainfo_list_free(libxl_numainfo *list, int nr);
int libxl_get_max_cpus(libxl_ctx *ctx);
int libxl_get_online_cpus(libxl_ctx *ctx);
int libxl_send_debug_keys(libxl_ctx *ctx, char *keys);
libxl_xen_console_reader *libxl_xen_console_read_start(libxl_ctx *ctx, int clear);
int libxl_xen_console_read_line(libxl_ctx *ctx, libxl_xen_console_reader *cr,
                                char **line_r);         /* 1: *line_r, owned by cr; 0: the end; < 0: an error */
void libxl_xen_console_read_finish(libxl_ctx *ctx, libxl_xen_console_reader *cr);
int libxl_primary_console_get_tty(libxl_ctx *ctx, uint32_t domid_vm, char **path);           /* free() it */
int libxl_console_get_tty(libxl_ctx *ctx, uint32_t domid, int cons_num, libxl_console_type type, char **path);

/* ---- disks ---- */

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

/* ---- network interfaces ---- */

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

/* ---- the glue (native/glue.c), in both modules ---- */

/* A context that reaps only its own children and ends the process (exit code 70) when libxl cannot go on.
 * Returns 0 or a libxl error and *ctx_out NULL; lg (may be NULL) must outlive the context. */
int xapid_ctx_alloc(libxl_ctx **ctx_out, xentoollog_logger *lg);

/* A logger in C alone. For each message of min_level (an XTL_*) and above it sends one datagram
 * "LEVEL\0CONTEXT\0MESSAGE" (LEVEL the number in decimal, no final \0, at most XAPID_LOG_MAX bytes, control characters
 * as blanks) to fd, a socket of type SOCK_DGRAM or SOCK_SEQPACKET that the caller owns; it never blocks: what does
 * not fit is dropped and counted. Progress comes as level XTL_PROGRESS, "PERCENT% WHAT DONE/TOTAL".
 * Silent in forked children. NULL when out of memory. */
#define XAPID_LOG_MAX ...
xentoollog_logger *xapid_logger_new(int fd, int min_level);
void xapid_logger_free(xentoollog_logger *lg);
uint64_t xapid_logger_dropped(const xentoollog_logger *lg);
void xapid_logger_emit(xentoollog_logger *lg, int level, const char *context, const char *text);

/* 1 while the process's SIGCHLD handler is still the one libxl installed with the first context, else 0. */
int xapid_sigchld_is_ours(void);

/* Build a domain from the stream that fd is positioned at (a v2 libxl stream). */
int xapid_domain_create_restore(libxl_ctx *ctx, libxl_domain_config *d_config, uint32_t *domid, int fd);

/* The libxl_shutdown_reason of a DOMAIN_SHUTDOWN event; LIBXL_SHUTDOWN_REASON_UNKNOWN for other events. */
int xapid_event_shutdown_reason(const libxl_event *event);

/* Nanoseconds that each of the host's CPUs has been idle, by number, into idle_ns[0..room); returns how many CPUs there
 * are, at most room, or ERROR_FAIL. A CPU that is offline stands still. libxl has no such function. */
int xapid_cpu_idle(libxl_ctx *ctx, uint64_t *idle_ns, int room);

/* Give an HVM or PVH domain that runs so much of the host's memory for its page tables (shadow or HAP), a multiple of
 * 4 KiB. ERROR_NOMEM where the host has not so much. libxl does this only while it builds a domain. */
int xapid_set_paging_memory(libxl_ctx *ctx, uint32_t domid, uint64_t kib);

/* The version of the library this module was built for, such as "4.17.5"; "mock" for the mock. */
const char *xapid_libxl_version(void);

/* ---- the mock's controls; with the real library each does nothing and returns ERROR_NI ---- */

int xapid_is_mock(void);                                                /* 1 or 0 */

/* Knobs of the host, read at each use. Unknown name: ERROR_INVAL.
 *   memory_kib (16 GiB), cpus (8), nodes (1), xen_minor (17): what the host is; pv_capable, hvm_capable (1)
 *   build_ms (20), destroy_ms (0), boot_ms (0): how long things take
 *   shutdown_ms (30): from a shutdown request to the guest's shutdown; ack_ms (0): to the guest's acknowledgement
 *   ack_timeout_ms (60000): how long libxl waits for it; unplug_ms (0), unplug_timeout_ms (10000); save_ms (0)
 *   domid_reuse_ms (60000): how long a domid stays unused after its domain
 *   ignore_shutdown, hvm_pv_drivers (1), refuse_unplug: what new domains begin with
 *   console_delay_ms (0): until a domain's console tty is known
 * Read-only: free_kib, domains, generation. */
int xapid_mock_set(const char *knob, int64_t value);
int xapid_mock_get(const char *knob, int64_t *value);

/* Orders to one guest; value as said. ERROR_DOMAIN_NOTFOUND, or ERROR_INVAL for an unknown order.
 *   crash, reboot, poweroff, suspend, watchdog, soft_reset: the guest does this by itself, now
 *   ignore_shutdown 0|1: it does not answer shutdown and reboot requests (they time out, or are just ignored when
 *   ack_ms allows: value 2); pv_drivers 0|1; refuse_unplug 0|1: its devices do not let go
 *   eject: the guest ejects its CD (all empty), counter N: set its counter; shutdown_ms N: its own delay */
int xapid_mock_order(uint32_t domid, const char *order, int64_t value);
/* Facts about one guest: counter (milliseconds it has run, kept over suspend), pv_drivers, ignore_shutdown,
 * refuse_unplug, booted, half_made, sysrq (last key), trigger (last one), target_kib, shutdown_requests,
 * held_kib (of the host, overhead included). */
int xapid_mock_ask(uint32_t domid, const char *fact, int64_t *value);
/* The domain with that uuid (36 characters), finished or not. ERROR_DOMAIN_NOTFOUND. */
int xapid_mock_find(const char *uuid, uint32_t *domid);

/* The next count calls (-1: all) of libxl function `function` ("libxl_domain_create_new"; "*": any), for the domain
 * `domid` (XAPID_INVALID_DOMID: any) and `uuid` (NULL or "": any; the way to name a domain not yet created):
 *   action 0: return rc at once (list functions return NULL); 1: do the work, then return rc;
 *   2: hang until xapid_mock_release or, where libxl would see it, libxl_ao_abort; 3: abort() the process;
 *   4: abort() the process half-way through the work (create, restore, suspend, destroy), else as 3.
 * ERROR_NOMEM when 64 such rules stand. A rule without count left is gone. */
int xapid_mock_fail(const char *function, int action, int rc, int count, uint32_t domid, const char *uuid);
int xapid_mock_release(void);                                           /* ends all hangs and drops all rules */
int xapid_mock_hanging(void);                                           /* how many calls hang now */
/* Forget everything: no domain but 0, knobs at their defaults. */
int xapid_mock_reset(void);
