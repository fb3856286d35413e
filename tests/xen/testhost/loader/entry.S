/* The boot sector: loads the rest of the loader, asks the BIOS for the memory map, leaves real mode. */

        .set    REST, 0x7e00            /* where sector 1 of the disk goes: the sector after this one */
        .set    REST_SECTORS, 32
        .set    MEMORY_MAP, 0x6000
        .set    MEMORY_MAP_COUNT, 0x5ffc
        .set    BOOT_PARAMS, 0x90000

        .section .boot, "ax"
        .code16
        .globl  entry
entry:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        ljmp    $0, $1f
1:      sti
        movw    $packet, %si
        movb    $0x42, %ah              /* extended read from the drive in %dl */
        int     $0x13
        jc      stop

        movl    $0, MEMORY_MAP_COUNT
        movw    $MEMORY_MAP, %di
        xorl    %ebx, %ebx
next_region:
        movl    $0xe820, %eax
        movl    $20, %ecx
        movl    $0x534d4150, %edx
        int     $0x15
        jc      map_read
        addw    $20, %di
        incl    MEMORY_MAP_COUNT
        testl   %ebx, %ebx
        jnz     next_region
map_read:
        cli
        inb     $0x92, %al              /* address line 20 */
        orb     $2, %al
        outb    %al, $0x92
        lgdt    descriptors
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $0x10, $protected
stop:
        hlt
        jmp     stop

packet: .byte   16, 0
        .word   REST_SECTORS, REST, 0
        .quad   1

/* Selectors 0x10 and 0x18 are where Linux's 32-bit boot protocol wants code and data. */
        .balign 8
table:  .quad   0, 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
descriptors:
        .word   . - table - 1
        .long   table

        .code32
protected:
        movw    $0x18, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movl    $0x7c00, %esp
        call    load
        movl    $BOOT_PARAMS, %esi
        xorl    %ebp, %ebp
        xorl    %edi, %edi
        xorl    %ebx, %ebx
        jmp     *%eax
