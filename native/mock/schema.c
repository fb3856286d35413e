/* The keys of libxl's JSON (Xen 4.17, COLO left out; newer keys carry the minor version that brought them), with
 * the values that libxl leaves out of its output. tests/native/test_agrees_with_xen.py holds them against libxl. */
#include "schema.h"

#define VALUES(name, ...) static const struct enum_value name##_values[] = { __VA_ARGS__, { NULL, 0 } }
#define FIELDS(type, ...) static const struct field schema_##type[] = { __VA_ARGS__, { .name = NULL } }
#define PUBLIC_FIELDS(type, ...) const struct field schema_##type[] = { __VA_ARGS__, { .name = NULL } }

#define BOOL(n) { .name = n, .kind = KIND_BOOL }
#define DEFBOOL(n) { .name = n, .kind = KIND_DEFBOOL }
#define STR(n) { .name = n, .kind = KIND_STRING }
#define UUID(n) { .name = n, .kind = KIND_UUID }
#define MAC(n) { .name = n, .kind = KIND_MAC }
#define BITMAP(n) { .name = n, .kind = KIND_BITMAP }
#define STRLIST(n) { .name = n, .kind = KIND_STRING_LIST }
#define KVLIST(n) { .name = n, .kind = KIND_KEY_VALUES }
#define CPUID(n) { .name = n, .kind = KIND_CPUID }
#define GENID(n) { .name = n, .kind = KIND_GENID }
#define NUMBER(n, low, high, initial) \
    { .name = n, .kind = KIND_INTEGER, .min = low, .max = high, .initial_value = initial }
#define INT(n, initial) NUMBER(n, INT32_MIN, INT32_MAX, initial)
#define U8(n, initial) NUMBER(n, 0, UINT8_MAX, initial)
#define U16(n, initial) NUMBER(n, 0, UINT16_MAX, initial)
#define U32(n, initial) NUMBER(n, 0, UINT32_MAX, initial)
#define U64(n, initial) NUMBER(n, 0, INT64_MAX, initial)
#define ENUM(n, e, initial) { .name = n, .kind = KIND_ENUM, .values = e##_values, .initial_value = initial }
#define STRUCT(n, t) { .name = n, .kind = KIND_STRUCT, .fields = schema_##t }
#define UNION(n, e, t) { .name = n, .kind = KIND_UNION, .values = e##_values, .fields = schema_##t }
#define ARRAY_STRUCT(n, t) { .name = n, .kind = KIND_ARRAY, .element = KIND_STRUCT, .fields = schema_##t }
#define ARRAY_ENUM(n, e) { .name = n, .kind = KIND_ARRAY, .element = KIND_ENUM, .values = e##_values }
#define ARRAY_U32(n) { .name = n, .kind = KIND_ARRAY, .element = KIND_INTEGER, .max = UINT32_MAX }
#define ARRAY_BITMAP(n) { .name = n, .kind = KIND_ARRAY, .element = KIND_BITMAP }
#define SINCE(minor, ...) { .since = minor, __VA_ARGS__ }
#define NONE INT64_MIN      /* an enumeration whose first value is none of its names */

VALUES(domain_type,
    { "invalid", -1 }, { "hvm", 1 }, { "pv", 2 }, { "pvh", 3 });
VALUES(passthrough,
    { "default", 0 }, { "disabled", 1 }, { "enabled", 2 }, { "sync_pt", 3 }, { "share_pt", 4 });
VALUES(tsc_mode,
    { "default", 0 }, { "always_emulate", 1 }, { "native", 2 }, { "native_paravirt", 3 });
VALUES(device_model_version,
    { "unknown", 0 }, { "qemu_xen_traditional", 1 }, { "qemu_xen", 2 });
VALUES(scheduler,
    { "unknown", 0 }, { "sedf", 4 }, { "credit", 5 }, { "credit2", 6 }, { "arinc653", 7 }, { "rtds", 8 },
    { "null", 9 });
VALUES(timer_mode,
    { "unknown", -1 }, { "delay_for_missed_ticks", 0 }, { "no_delay_for_missed_ticks", 1 },
    { "no_missed_ticks_pending", 2 }, { "one_missed_tick_pending", 3 });
VALUES(tee_type,
    { "none", 0 }, { "optee", 1 });
VALUES(bios_type,
    { "unknown", 0 }, { "rombios", 1 }, { "seabios", 2 }, { "ovmf", 3 });
VALUES(hdtype,
    { "ide", 1 }, { "ahci", 2 });
VALUES(vga_interface_type,
    { "unknown", 0 }, { "cirrus", 1 }, { "std", 2 }, { "none", 3 }, { "qxl", 4 });
VALUES(gfx_passthru_kind,
    { "default", 0 }, { "igd", 1 });
VALUES(vendor_device,
    { "none", 0 }, { "xenserver", 1 });
VALUES(rdm_reserve_strategy,
    { "ignore", 0 }, { "host", 1 });
VALUES(rdm_reserve_policy,
    { "invalid", -1 }, { "strict", 0 }, { "relaxed", 1 });
VALUES(gic_version,
    { "default", 0 }, { "v2", 32 }, { "v3", 48 });
VALUES(vuart_type,
    { "unknown", 0 }, { "sbsa_uart", 1 });
VALUES(altp2m_mode,
    { "disabled", 0 }, { "mixed", 1 }, { "external", 2 }, { "limited", 3 });
VALUES(disk_backend,
    { "unknown", 0 }, { "phy", 1 }, { "tap", 2 }, { "qdisk", 3 }, { "standalone", 4 });
VALUES(disk_format,
    { "unknown", 0 }, { "qcow", 1 }, { "qcow2", 2 }, { "vhd", 3 }, { "raw", 4 }, { "empty", 5 }, { "qed", 6 });
VALUES(disk_specification,
    { "unknown", 0 }, { "xen", 1 }, { "virtio", 2 });
VALUES(disk_transport,
    { "unknown", 0 }, { "mmio", 1 });
VALUES(nic_type,
    { "unknown", 0 }, { "vif_ioemu", 1 }, { "vif", 2 });
VALUES(vkb_backend,
    { "unknown", 0 }, { "qemu", 1 }, { "linux", 2 });
VALUES(vsnd_pcm_format,
    { "s8", 1 }, { "u8", 2 }, { "s16_le", 3 }, { "s16_be", 4 }, { "u16_le", 5 }, { "u16_be", 6 }, { "s24_le", 7 },
    { "s24_be", 8 }, { "u24_le", 9 }, { "u24_be", 10 }, { "s32_le", 11 }, { "s32_be", 12 }, { "u32_le", 13 },
    { "u32_be", 14 }, { "f32_le", 15 }, { "f32_be", 16 }, { "f64_le", 17 }, { "f64_be", 18 },
    { "iec958_subframe_le", 19 }, { "iec958_subframe_be", 20 }, { "mu_law", 21 }, { "a_law", 22 },
    { "ima_adpcm", 23 }, { "mpeg", 24 }, { "gsm", 25 });
VALUES(vsnd_stream_type,
    { "p", 1 }, { "c", 2 });
VALUES(channel_connection,
    { "unknown", 0 }, { "pty", 1 }, { "socket", 2 });
VALUES(usbctrl_type,
    { "auto", 0 }, { "pv", 1 }, { "devicemodel", 2 }, { "qusb", 3 });
VALUES(usbdev_type,
    { "hostdev", 1 });
VALUES(action_on_shutdown,
    { "destroy", 1 }, { "restart", 2 }, { "restart_rename", 3 }, { "preserve", 4 }, { "coredump_destroy", 5 },
    { "coredump_restart", 6 }, { "soft_reset", 7 });

FIELDS(domain_create_info,
    ENUM("type", domain_type, -1), DEFBOOL("hap"), DEFBOOL("oos"), U32("ssidref", 0), STR("ssid_label"),
    STR("name"), U32("domid", 0), UUID("uuid"), KVLIST("xsdata"), KVLIST("platformdata"), U32("poolid", 0),
    STR("pool_name"), DEFBOOL("run_hotplug_scripts"), DEFBOOL("driver_domain"), ENUM("passthrough", passthrough, 0),
    DEFBOOL("xend_suspend_evtchn_compat"));
FIELDS(vnode_info,
    U64("memkb", -1), ARRAY_U32("distances"), U32("pnode", 0), BITMAP("vcpus"));
FIELDS(domain_sched_params,
    ENUM("sched", scheduler, 0), INT("weight", -1), INT("cap", -1), INT("period", -1), INT("budget", -1),
    INT("extratime", -1), INT("slice", -1), INT("latency", -1));
FIELDS(ioport_range,
    U32("first", 0), U32("number", 0));
FIELDS(iomem_range,
    U64("start", 0), U64("number", 0), U64("gfn", -1));
FIELDS(vga_interface_info,
    ENUM("kind", vga_interface_type, 0));
FIELDS(vnc_info,
    DEFBOOL("enable"), STR("listen"), STR("passwd"), INT("display", 0), DEFBOOL("findunused"));
FIELDS(sdl_info,
    DEFBOOL("enable"), DEFBOOL("opengl"), STR("display"), STR("xauthority"));
FIELDS(spice_info,
    DEFBOOL("enable"), INT("port", 0), INT("tls_port", 0), STR("host"), DEFBOOL("disable_ticketing"), STR("passwd"),
    DEFBOOL("agent_mouse"), DEFBOOL("vdagent"), DEFBOOL("clipboard_sharing"), INT("usbredirection", 0),
    STR("image_compression"), STR("streaming_video"));
FIELDS(rdm_reserve,
    ENUM("strategy", rdm_reserve_strategy, 0), ENUM("policy", rdm_reserve_policy, -1));
FIELDS(domain_build_info_hvm,
    STR("firmware"), ENUM("bios", bios_type, 0), DEFBOOL("pae"), DEFBOOL("apic"), DEFBOOL("acpi"),
    DEFBOOL("acpi_s3"), DEFBOOL("acpi_s4"), DEFBOOL("acpi_laptop_slate"), DEFBOOL("nx"), DEFBOOL("viridian"),
    BITMAP("viridian_enable"), BITMAP("viridian_disable"), STR("timeoffset"), DEFBOOL("hpet"), DEFBOOL("vpt_align"),
    U64("mmio_hole_memkb", -1), ENUM("timer_mode", timer_mode, -1), DEFBOOL("nested_hvm"), DEFBOOL("altp2m"),
    STR("system_firmware"), STR("smbios_firmware"), STR("acpi_firmware"), ENUM("hdtype", hdtype, 1),
    DEFBOOL("nographic"), STRUCT("vga", vga_interface_info), STRUCT("vnc", vnc_info), STR("keymap"),
    STRUCT("sdl", sdl_info), STRUCT("spice", spice_info), DEFBOOL("gfx_passthru"),
    ENUM("gfx_passthru_kind", gfx_passthru_kind, 0), STR("serial"), STR("boot"), DEFBOOL("usb"),
    INT("usbversion", 0), STR("usbdevice"), DEFBOOL("vkb_device"), STR("soundhw"), DEFBOOL("xen_platform_pci"),
    STRLIST("usbdevice_list"), ENUM("vendor_device", vendor_device, 0), GENID("ms_vm_genid"),
    STRLIST("serial_list"), STRUCT("rdm", rdm_reserve), U64("rdm_mem_boundary_memkb", -1), U64("mca_caps", 0),
    SINCE(18, .name = "pirq", .kind = KIND_DEFBOOL));
FIELDS(domain_build_info_pv,
    STR("kernel"), U64("slack_memkb", -1), STR("bootloader"), STRLIST("bootloader_args"), STR("cmdline"),
    STR("ramdisk"), DEFBOOL("e820_host"));
FIELDS(domain_build_info_pvh,
    DEFBOOL("pvshim"), STR("pvshim_path"), STR("pvshim_cmdline"), STR("pvshim_extra"));
FIELDS(domain_build_info_type,
    STRUCT("hvm", domain_build_info_hvm), STRUCT("pv", domain_build_info_pv), STRUCT("pvh", domain_build_info_pvh));
FIELDS(domain_build_info_arch_arm,
    ENUM("gic_version", gic_version, 0), ENUM("vuart", vuart_type, 0));
FIELDS(domain_build_info_arch_x86,
    DEFBOOL("msr_relaxed"));
FIELDS(domain_build_info,
    INT("max_vcpus", 0), BITMAP("avail_vcpus"), BITMAP("cpumap"), BITMAP("nodemap"),
    ARRAY_BITMAP("vcpu_hard_affinity"), ARRAY_BITMAP("vcpu_soft_affinity"), DEFBOOL("numa_placement"),
    ENUM("tsc_mode", tsc_mode, 0), U64("max_memkb", -1), U64("target_memkb", -1), U64("video_memkb", -1),
    U64("shadow_memkb", -1), U64("iommu_memkb", -1), U32("rtc_timeoffset", 0), U32("exec_ssidref", 0),
    STR("exec_ssid_label"), DEFBOOL("localtime"), DEFBOOL("disable_migrate"), CPUID("cpuid"), STR("blkdev_start"),
    ARRAY_STRUCT("vnuma_nodes", vnode_info), U32("max_grant_frames", UINT32_MAX),
    U32("max_maptrack_frames", UINT32_MAX), INT("max_grant_version", -1),
    ENUM("device_model_version", device_model_version, 0), DEFBOOL("device_model_stubdomain"),
    U64("stubdomain_memkb", -1), STR("stubdomain_kernel"), STR("stubdomain_cmdline"), STR("stubdomain_ramdisk"),
    STR("device_model"), U32("device_model_ssidref", 0), STR("device_model_ssid_label"), STR("device_model_user"),
    STRLIST("extra"), STRLIST("extra_pv"), STRLIST("extra_hvm"), STRUCT("sched_params", domain_sched_params),
    ARRAY_STRUCT("ioports", ioport_range), ARRAY_U32("irqs"), ARRAY_STRUCT("iomem", iomem_range),
    DEFBOOL("claim_mode"), U32("event_channels", 0), STR("kernel"), STR("cmdline"), STR("ramdisk"),
    STR("device_tree"), DEFBOOL("acpi"), STR("bootloader"), STRLIST("bootloader_args"),
    SINCE(18, .name = "bootloader_restrict", .kind = KIND_DEFBOOL),
    SINCE(18, .name = "bootloader_user", .kind = KIND_STRING), ENUM("timer_mode", timer_mode, -1),
    DEFBOOL("nested_hvm"), DEFBOOL("apic"), DEFBOOL("dm_restrict"), ENUM("tee", tee_type, 0),
    UNION("type", domain_type, domain_build_info_type), STRUCT("arch_arm", domain_build_info_arch_arm),
    STRUCT("arch_x86", domain_build_info_arch_x86), ENUM("altp2m", altp2m_mode, 0), INT("vmtrace_buf_kb", 0),
    DEFBOOL("vpmu"));
PUBLIC_FIELDS(device_disk,
    U32("backend_domid", 0), STR("backend_domname"), STR("pdev_path"), STR("vdev"),
    ENUM("backend", disk_backend, 0), ENUM("format", disk_format, 0), STR("script"), INT("removable", 0),
    INT("readwrite", 0), INT("is_cdrom", 0), BOOL("direct_io_safe"), DEFBOOL("discard_enable"),
    ENUM("specification", disk_specification, 0), ENUM("transport", disk_transport, 0), U32("irq", 0),
    U64("base", 0), DEFBOOL("trusted"), SINCE(18, .name = "grant_usage", .kind = KIND_DEFBOOL));
PUBLIC_FIELDS(device_nic,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), INT("mtu", 0), STR("model"), MAC("mac"),
    STR("ip"), STR("bridge"), STR("ifname"), STR("script"), ENUM("nictype", nic_type, 0),
    U64("rate_bytes_per_interval", 0), U32("rate_interval_usecs", 0), STR("gatewaydev"), DEFBOOL("trusted"),
    SINCE(20, .name = "vlan", .kind = KIND_STRING));
FIELDS(device_pci,
    U8("func", 0), U8("dev", 0), U8("bus", 0), INT("domain", 0), U32("vdevfn", 0), U32("vfunc_mask", 0),
    BOOL("msitranslate"), BOOL("power_mgmt"), BOOL("permissive"), BOOL("seize"),
    ENUM("rdm_policy", rdm_reserve_policy, -1), STR("name"));
FIELDS(device_rdm,
    U64("start", 0), U64("size", 0), ENUM("policy", rdm_reserve_policy, -1));
FIELDS(device_dtdev,
    STR("path"));
FIELDS(device_vfb,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), STRUCT("vnc", vnc_info),
    STRUCT("sdl", sdl_info), STR("keymap"));
FIELDS(device_vkb,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), ENUM("backend_type", vkb_backend, 0),
    STR("unique_id"), BOOL("feature_disable_keyboard"), BOOL("feature_disable_pointer"),
    BOOL("feature_abs_pointer"), BOOL("feature_raw_pointer"), BOOL("feature_multi_touch"), U32("width", 0),
    U32("height", 0), U32("multi_touch_width", 0), U32("multi_touch_height", 0), U32("multi_touch_num_contacts", 0));
FIELDS(device_vtpm,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), UUID("uuid"));
FIELDS(device_p9,
    U32("backend_domid", 0), STR("backend_domname"), STR("tag"), STR("path"), STR("security_model"),
    INT("devid", -1));
FIELDS(device_pvcallsif,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1));
FIELDS(connector_param,
    STR("unique_id"), U32("width", 0), U32("height", 0));
FIELDS(device_vdispl,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), BOOL("be_alloc"),
    ARRAY_STRUCT("connectors", connector_param));
FIELDS(vsnd_params,
    ARRAY_U32("sample_rates"), ARRAY_ENUM("sample_formats", vsnd_pcm_format), U32("channels_min", 0),
    U32("channels_max", 0), U32("buffer_size", 0));
FIELDS(vsnd_stream,
    STR("unique_id"), ENUM("type", vsnd_stream_type, NONE), STRUCT("params", vsnd_params));
FIELDS(vsnd_pcm,
    STR("name"), STRUCT("params", vsnd_params), ARRAY_STRUCT("streams", vsnd_stream));
FIELDS(device_vsnd,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), STR("short_name"), STR("long_name"),
    STRUCT("params", vsnd_params), ARRAY_STRUCT("pcms", vsnd_pcm));
FIELDS(device_channel_socket,
    STR("path"));
FIELDS(device_channel_connection,
    STRUCT("socket", device_channel_socket));
FIELDS(device_channel,
    U32("backend_domid", 0), STR("backend_domname"), INT("devid", -1), STR("name"),
    UNION("connection", channel_connection, device_channel_connection));
FIELDS(device_usbctrl,
    ENUM("type", usbctrl_type, 0), INT("devid", -1), INT("version", 0), INT("ports", 0), U32("backend_domid", 0),
    STR("backend_domname"));
FIELDS(device_usbdev_hostdev,
    U8("hostbus", 0), U8("hostaddr", 0));
FIELDS(device_usbdev_type,
    STRUCT("hostdev", device_usbdev_hostdev));
FIELDS(device_usbdev,
    INT("ctrl", -1), INT("port", 0), UNION("type", usbdev_type, device_usbdev_type));
PUBLIC_FIELDS(domain_config,
    STRUCT("c_info", domain_create_info), STRUCT("b_info", domain_build_info), ARRAY_STRUCT("disks", device_disk),
    ARRAY_STRUCT("nics", device_nic), ARRAY_STRUCT("pcidevs", device_pci), ARRAY_STRUCT("rdms", device_rdm),
    ARRAY_STRUCT("dtdevs", device_dtdev), ARRAY_STRUCT("vfbs", device_vfb), ARRAY_STRUCT("vkbs", device_vkb),
    ARRAY_STRUCT("vtpms", device_vtpm), ARRAY_STRUCT("p9s", device_p9),
    ARRAY_STRUCT("pvcallsifs", device_pvcallsif), ARRAY_STRUCT("vdispls", device_vdispl),
    ARRAY_STRUCT("vsnds", device_vsnd), ARRAY_STRUCT("channels", device_channel),
    ARRAY_STRUCT("usbctrls", device_usbctrl), ARRAY_STRUCT("usbdevs", device_usbdev),
    ENUM("on_poweroff", action_on_shutdown, 1), ENUM("on_reboot", action_on_shutdown, 1),
    ENUM("on_watchdog", action_on_shutdown, 1), ENUM("on_crash", action_on_shutdown, 1),
    ENUM("on_soft_reset", action_on_shutdown, 1));
