/*
 * Loads Linux from the first IDE disk with DMA.
 *
 * A BIOS and every common boot loader read with programmed I/O, and under emulation each word of it is a
 * way through Xen, the guest and the device model: 200 kB a second. With DMA it is one command for 128 kB.
 * Boot protocol: Documentation/arch/x86/boot.rst, "32-bit boot protocol". Bus mastering: the PIIX manual.
 */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTOR 512u
#define SETUP 0x10000u          /* where the kernel's first sectors go, for its header */
#define KERNEL 0x100000u
#define BOOT_PARAMS 0x90000u
#define COMMAND_SECTORS 256u

struct region {
    u64 start, size;
    u32 type;
} __attribute__((packed));

#define REGIONS ((const struct region *)0x6000)
#define REGION_COUNT (*(const u32 *)0x5ffc)

/* Filled in when the disk is made: sector numbers and lengths. */
const volatile struct {
    u32 kernel, kernel_sectors, initrd, initrd_bytes;
    char command_line[256];
} files __attribute__((section(".files")));

static struct {
    u32 address;
    u16 bytes, flags;           /* 0 bytes are 65536 */
} __attribute__((packed)) parts[2] __attribute__((aligned(16)));

static u32 bus_master;

static void outb(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static void outl(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }

static u8 inb(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static u32 inl(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void say(const char *text)
{
    while (*text)
        outb(0x3f8, *text++);
}

static void fail(const char *text)
{
    say(text);
    for (;;)
        __asm__ volatile("hlt");
}

static u32 pci(u32 device, u32 offset)
{
    outl(0xcf8, 0x80000000u | device << 8 | offset);
    return inl(0xcfc);
}

static void find_controller(void)
{
    for (u32 device = 0; device < 256; device++) {
        if (pci(device, 0) == 0xffffffffu || pci(device, 8) >> 16 != 0x0101)
            continue;
        u32 command = pci(device, 4);
        outl(0xcfc, (command & 0xffff) | 5);    /* I/O ports, bus master */
        bus_master = pci(device, 0x20) & ~3u;
        return;
    }
    fail("no IDE controller\r\n");
}

/* target: a multiple of 64 kB, which no part of a transfer may cross. */
static void read_command(u32 sector, u32 count, u32 target)
{
    u32 bytes = count * SECTOR, used = bytes > 0x10000 ? 2 : 1;
    parts[0].address = target;
    parts[0].bytes = used == 2 ? 0 : (u16)bytes;
    parts[0].flags = used == 2 ? 0 : 0x8000;
    parts[1].address = target + 0x10000;
    parts[1].bytes = (u16)(bytes - 0x10000);
    parts[1].flags = 0x8000;

    while (inb(0x1f7) & 0x80)
        ;
    outb(bus_master, 0);
    outl(bus_master + 4, (u32)parts);
    outb(bus_master + 2, 6);
    outb(0x1f6, 0xe0 | sector >> 24);
    outb(0x1f2, (u8)count);
    outb(0x1f3, (u8)sector);
    outb(0x1f4, (u8)(sector >> 8));
    outb(0x1f5, (u8)(sector >> 16));
    outb(0x1f7, 0xc8);
    outb(bus_master, 9);
    while (!(inb(bus_master + 2) & 6))
        __asm__ volatile("pause");
    outb(bus_master, 0);
    if ((inb(0x1f7) & 1) || (inb(bus_master + 2) & 2))
        fail("read error\r\n");
}

static void read_sectors(u32 sector, u32 count, u32 target)
{
    while (count) {
        u32 now = count < COMMAND_SECTORS ? count : COMMAND_SECTORS;
        read_command(sector, now, target);
        sector += now;
        count -= now;
        target += now * SECTOR;
    }
}

static void copy(u32 target, u32 source, u32 bytes)
{
    __asm__ volatile("rep movsb" : "+D"(target), "+S"(source), "+c"(bytes) : : "memory");
}

static void clear(u32 target, u32 bytes)
{
    __asm__ volatile("rep stosb" : "+D"(target), "+c"(bytes) : "a"(0) : "memory");
}

/* The highest place below 2 GB that is memory and free. */
static u32 room_for(u32 bytes)
{
    u32 best = 0;
    for (u32 i = 0; i < REGION_COUNT; i++) {
        const struct region *region = &REGIONS[i];
        u64 end = region->start + region->size;
        if (region->type != 1 || region->size < bytes + 0x10000u)
            continue;
        if (end > 0x7fff0000u)
            end = 0x7fff0000u;
        u32 place = ((u32)end - bytes) & ~0xffffu;
        if (place >= region->start && place > best)
            best = place;
    }
    return best;
}

/* Where the kernel begins, with everything in its place. */
u32 load(void)
{
    u8 *setup = (u8 *)SETUP, *params = (u8 *)BOOT_PARAMS;
    u32 initrd = room_for(files.initrd_bytes);
    find_controller();
    read_sectors(files.kernel, 64, SETUP);
    u32 skip = (setup[0x1f1] ? setup[0x1f1] : 4) + 1u;
    if (*(u32 *)(setup + 0x202) != 0x53726448)          /* "HdrS" */
        fail("not a kernel\r\n");
    read_sectors(files.kernel + skip, files.kernel_sectors - skip, KERNEL);
    read_sectors(files.initrd, (files.initrd_bytes + SECTOR - 1) / SECTOR, initrd);

    clear(BOOT_PARAMS, 4096);
    copy(BOOT_PARAMS + 0x1f1, SETUP + 0x1f1, 0x202 + setup[0x201] - 0x1f1);
    params[0x06] = 3;           /* the screen: 80 by 25 characters of VGA text */
    params[0x07] = 80;
    params[0x0e] = 25;
    params[0x0f] = 1;
    params[0x10] = 16;
    params[0x210] = 0xff;       /* a loader without a number */
    *(u32 *)(params + 0x218) = initrd;
    *(u32 *)(params + 0x21c) = files.initrd_bytes;
    *(u32 *)(params + 0x228) = (u32)files.command_line;
    params[0x1e8] = (u8)REGION_COUNT;
    copy(BOOT_PARAMS + 0x2d0, 0x6000, REGION_COUNT * sizeof(struct region));
    say("Linux\r\n");
    return *(u32 *)(params + 0x214);
}
