/* Answers the `cpuid` instructions that without_vnni.py replaced by int3, as a processor without VNNI would. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define BIT(n) (1u << (n))

/* VNNI for 512 and 256 bits, its INT8 and INT16 forms, AMX */
#define VNNI_7_0_ECX BIT(11)
#define VNNI_7_0_EDX (BIT(22) | BIT(24) | BIT(25))
#define VNNI_7_1_EAX (BIT(4) | BIT(21))
#define VNNI_7_1_EDX (BIT(4) | BIT(8) | BIT(10))
/* AVX-512 in all its parts, AVX10 */
#define AVX512_7_0_EBX (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define AVX512_7_0_ECX (BIT(1) | BIT(6) | BIT(12) | BIT(14))
#define AVX512_7_0_EDX (BIT(2) | BIT(3) | BIT(8) | BIT(23))
#define AVX512_7_1_EAX (BIT(5) | BIT(23))
#define AVX512_7_1_EDX (BIT(5) | BIT(19))

static void masked(uint32_t leaf, uint32_t subleaf, uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d)
{
    __cpuid_count(leaf, subleaf, *a, *b, *c, *d);
    if (leaf == 7 && subleaf == 0) {
        *c &= ~VNNI_7_0_ECX;
        *d &= ~VNNI_7_0_EDX;
#ifndef KEEP_AVX512
        *b &= ~AVX512_7_0_EBX;
        *c &= ~AVX512_7_0_ECX;
        *d &= ~AVX512_7_0_EDX;
#endif
    } else if (leaf == 7 && subleaf == 1) {
        *a &= ~VNNI_7_1_EAX;
        *d &= ~VNNI_7_1_EDX;
#ifndef KEEP_AVX512
        *a &= ~AVX512_7_1_EAX;
        *d &= ~AVX512_7_1_EDX;
#endif
    } else if (leaf == 0x1d || leaf == 0x1e || leaf == 0x24) { /* AMX and AVX10 describe themselves there */
        *a = *b = *c = *d = 0;
    }
}

static struct sigaction before;

/* The trap leaves RIP behind the int3, at the nop that took the second byte. Without SA_SIGINFO's context nothing could be answered. */
static void answer(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *next = (const unsigned char *)registers[REG_RIP];
    uint32_t a, b, c, d;
    if (next[-1] != 0xCC || next[0] != 0x90) { /* a breakpoint of somebody else */
        sigaction(SIGTRAP, &before, NULL);
        raise(number);
        return;
    }
    (void)info;
    masked((uint32_t)registers[REG_RAX], (uint32_t)registers[REG_RCX], &a, &b, &c, &d);
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
}

__attribute__((constructor)) static void install(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART};
    action.sa_sigaction = answer;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGTRAP, &action, &before) != 0) {
        perror("without_vnni: sigaction");
        abort();
    }
}
